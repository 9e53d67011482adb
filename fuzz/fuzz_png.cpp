// PNG: as for JPEG, and libpng must show the same pixels of every file that both accept.
#include <png.h>

#include "support.hpp"

namespace {

// libpng's own reading as RGB: 16 bits keep the high byte, alpha is dropped, no gamma. Nothing when it
// complains.
struct LibpngReader {
    const std::uint8_t* data;
    std::size_t left;
};

void read(png_structp png, png_bytep to, png_size_t count) {
    auto* reader = static_cast<LibpngReader*>(png_get_io_ptr(png));
    if (count > reader->left) png_error(png, "truncated");
    std::memcpy(to, reader->data, count);
    reader->data += count;
    reader->left -= count;
}

[[noreturn]] void fail(png_structp png, png_const_charp) {
    png_longjmp(png, 1);
}

// The buffers are the caller's: no object with a destructor may be in the frame that longjmp leaves.
bool by_libpng(gs::ByteView bytes, std::vector<std::uint8_t>& pixels, std::vector<png_bytep>& rows) {
    LibpngReader reader{bytes.data, bytes.size};
    png_structp png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, [](png_structp, png_const_charp) {});
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, nullptr);
        return false;
    }
    png_set_read_fn(png, &reader, read);
    png_set_user_limits(png, 1 << 18, 1 << 18);
    png_read_info(png, info);
    png_set_strip_16(png);
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (!(png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const std::size_t stride = png_get_rowbytes(png, info);
    const png_uint_32 height = png_get_image_height(png, info);
    if (stride != std::size_t{3} * png_get_image_width(png, info)) png_error(png, "not RGB");
    pixels.resize(stride * height);
    rows.resize(height);
    for (png_uint_32 y = 0; y < height; y++) rows[y] = pixels.data() + stride * y;
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
    png_destroy_read_struct(&png, &info, nullptr);
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    if (gs::sniff(p.image()) != gs::Format::png) return 0;
    fuzz::check_decoder(p);
    const auto info = fuzz::info_of(p.image());
    if (!info) return 0;
    const auto whole = fuzz::pixels_of(p.image(), {0, 0, info->width, info->height}, true);
    std::vector<std::uint8_t> reference;
    std::vector<png_bytep> rows;
    if (whole && by_libpng(p.image(), reference, rows))
        FUZZ_CHECK(*whole == reference, "libpng shows other pixels");
    return 0;
}
