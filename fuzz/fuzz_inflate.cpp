// Inflate alone: zlib must take and refuse the same streams and give the same bytes, in whatever steps they
// are asked for. Bytes 0..3 choose the steps and whether the rest is a stream or is to become one.
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "png/png_inflate.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;
using Status = gs::png::Inflater::Status;

constexpr std::size_t kMost = 1 << 20;  // of output that is looked at

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "inflate: %s\n", what);
    std::abort();
}

// A stream of some of these bytes, by zlib's own choices; sometimes flushed in the middle.
Bytes deflated(const std::uint8_t* data, std::size_t size, unsigned choice) {
    z_stream z{};
    const int level = static_cast<int>(choice % 10), memory = 1 + static_cast<int>(choice / 10 % 9);
    const int strategy = static_cast<int>(choice / 90 % 5);
    if (deflateInit2(&z, level, Z_DEFLATED, 15, memory, strategy) != Z_OK) fail("deflateInit2");
    Bytes to(deflateBound(&z, size) + 1000);
    z.next_out = to.data();
    z.avail_out = static_cast<uInt>(to.size());
    z.next_in = const_cast<Bytef*>(data);
    z.avail_in = static_cast<uInt>(size / 2);
    deflate(&z, choice % 3 == 0 ? Z_FULL_FLUSH : choice % 3 == 1 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    z.avail_in += static_cast<uInt>(size - size / 2);
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) fail("deflate");
    to.resize(to.size() - z.avail_out);
    deflateEnd(&z);
    return to;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const unsigned choice = data[0] | data[1] << 8u, step = data[2] | data[3] << 8u;
    Bytes stream(data + 4, data + size);
    if (choice % 4 != 0) stream = deflated(data + 4, size - 4, choice / 4);
    if (choice % 4 == 3 && !stream.empty())
        stream[step % stream.size()] ^= static_cast<std::uint8_t>(choice >> 8 | 1);
    stream.shrink_to_fit();  // reading beyond it is found

    Bytes expected(kMost);
    z_stream z{};
    if (inflateInit(&z) != Z_OK) fail("inflateInit");
    z.next_in = stream.data();
    z.avail_in = static_cast<uInt>(stream.size());
    z.next_out = expected.data();
    z.avail_out = static_cast<uInt>(expected.size());
    int status = Z_OK;
    while (status == Z_OK && z.avail_out > 0) status = inflate(&z, Z_NO_FLUSH);
    expected.resize(expected.size() - z.avail_out);
    inflateEnd(&z);

    static gs::png::Inflater inflater;
    Bytes out(kMost + gs::png::kInflateSlack + 1);
    inflater.start({stream.data(), stream.size()}, out.data());
    for (std::size_t wanted = step % 700;; wanted += 1 + step * 3) {
        wanted = std::min(wanted, kMost - 1);
        const Status got = inflater.inflate_beyond(wanted);
        const bool ended = got != Status::more;
        if (status == Z_STREAM_END && (got == Status::damaged || got == Status::truncated))
            fail("refuses a stream that zlib takes");
        if (got == Status::done && status != Z_STREAM_END) fail("takes a stream that zlib refuses");
        if (got == Status::done && inflater.size() != expected.size()) fail("another size than zlib's");
        const std::size_t sure =
            got == Status::done ? inflater.size() : std::min(wanted + 1, inflater.size());
        if (got == Status::more && inflater.size() <= wanted) fail("less than was asked for");
        if (!(got == Status::damaged || got == Status::truncated)) {
            if (sure > expected.size()) fail("more than zlib gives");
            if (!std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(sure), expected.begin()))
                fail("other bytes than zlib's");
        }
        if (ended || wanted == kMost - 1) break;
    }
    return 0;
}
