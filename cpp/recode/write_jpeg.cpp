#include "recode/write_jpeg.hpp"

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include <csetjmp>
#include <new>

#include "base/types.hpp"

namespace gs {
namespace {

// libjpeg leaves its calls by longjmp; what has a destructor lives here, outside of them.
struct Writer {
    jpeg_compress_struct out{};
    jpeg_error_mgr errors{};
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX] = "";
    unsigned char* bytes = nullptr;
    unsigned long size = 0;

    Writer();
    ~Writer() {
        jpeg_destroy_compress(&out);
        std::free(bytes);
    }
};

void on_error(j_common_ptr common) {
    auto* writer = static_cast<Writer*>(common->client_data);
    common->err->format_message(common, writer->message);
    std::longjmp(writer->jump, 1);
}

Writer::Writer() {
    out.err = jpeg_std_error(&errors);
    errors.error_exit = on_error;
    out.client_data = this;
    jpeg_create_compress(&out);
}

bool write(Writer& w, const std::uint8_t* pixels, int width, int height, int quality) {
    if (setjmp(w.jump)) return false;
    jpeg_mem_dest(&w.out, &w.bytes, &w.size);
    w.out.image_width = static_cast<JDIMENSION>(width);
    w.out.image_height = static_cast<JDIMENSION>(height);
    w.out.input_components = 3;
    w.out.in_color_space = JCS_RGB;
    jpeg_set_defaults(&w.out);
    jpeg_set_quality(&w.out, quality, TRUE);
    jpeg_start_compress(&w.out, TRUE);
    while (w.out.next_scanline < w.out.image_height) {
        auto* row = const_cast<JSAMPROW>(pixels + std::size_t{3} * w.out.image_width * w.out.next_scanline);
        jpeg_write_scanlines(&w.out, &row, 1);
    }
    jpeg_finish_compress(&w.out);
    return true;
}

}  // namespace

std::vector<std::uint8_t> write_jpeg(const std::uint8_t* pixels, int width, int height, int quality) {
    Writer writer;
    if (!write(writer, pixels, width, height, quality)) throw DecodeError(writer.message);
    return {writer.bytes, writer.bytes + writer.size};
}

}  // namespace gs
