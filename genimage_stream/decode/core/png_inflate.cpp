#include "png_inflate.hpp"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <new>

namespace gs::png {

struct Inflater::Impl {
    libdeflate_decompressor* fast = nullptr;
    z_stream plain{};
    bool plain_ready = false;
};

Inflater::Inflater() : impl_(new Impl) {
    impl_->fast = libdeflate_alloc_decompressor();
    if (impl_->fast == nullptr) throw std::bad_alloc();
}

Inflater::~Inflater() {
    libdeflate_free_decompressor(impl_->fast);
    if (impl_->plain_ready) inflateEnd(&impl_->plain);
}

namespace {

// zlib writes up to the last byte it can, which libdeflate does not: it drops a match or a stored block that
// does not fit. For the streams where that matters: damaged ones and those with more data than the image has.
// Goes on for one byte beyond `wanted`, because only then the stream's end is looked at.
Inflated inflate_exactly(z_stream& z, ByteView stream, std::uint8_t* out, std::size_t wanted) {
    std::size_t in = 0, done = 0;
    int status = Z_OK;
    while (status == Z_OK && done <= wanted) {
        const std::size_t in_part = std::min<std::size_t>(stream.size - in, UINT_MAX);
        const std::size_t out_part = std::min<std::size_t>(wanted + 1 - done, UINT_MAX);
        z.next_in = const_cast<Bytef*>(stream.data + in);
        z.avail_in = static_cast<uInt>(in_part);
        z.next_out = out + done;
        z.avail_out = static_cast<uInt>(out_part);
        status = ::inflate(&z, Z_NO_FLUSH);
        in += in_part - z.avail_in;
        done += out_part - z.avail_out;
    }
    if (done > wanted || (done == wanted && status == Z_STREAM_END)) return {wanted, nullptr};
    const bool short_of_data = status == Z_STREAM_END || status == Z_BUF_ERROR || status == Z_OK;
    return {done, short_of_data ? "the image data ends too early" : "the image data cannot be decompressed"};
}

}  // namespace

Inflated Inflater::inflate(ByteView stream, std::uint8_t* out, std::size_t wanted, std::size_t total,
                           bool partial) {
    // A stored block of up to 65535 bytes that does not fit is not written at all.
    const std::size_t room = std::min(total, wanted + 65536);
    std::size_t in_size = 0, out_size = 0;
    const libdeflate_result result =
        libdeflate_zlib_decompress_ex(impl_->fast, stream.data, stream.size, out, room, &in_size, &out_size);
    if (result == LIBDEFLATE_SUCCESS && out_size >= wanted) return {wanted, nullptr};
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE && room == wanted + 65536) return {wanted, nullptr};
    if (!partial && result == LIBDEFLATE_SUCCESS) return {0, "the image data ends too early"};
    if (!partial && result == LIBDEFLATE_BAD_DATA) return {0, "the image data cannot be decompressed"};

    z_stream& z = impl_->plain;
    if (!impl_->plain_ready) {
        if (inflateInit(&z) != Z_OK) throw std::bad_alloc();
        impl_->plain_ready = true;
    } else {
        inflateReset(&z);
    }
    return inflate_exactly(z, stream, out, wanted);
}

}  // namespace gs::png
