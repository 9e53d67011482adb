// PNG through libpng.
#include <png.h>

#include "decode.hpp"

namespace gs {

struct PngState {
    Buffer pixels;
};

std::unique_ptr<PngState, PngStateDeleter> make_png_state() {
    return std::unique_ptr<PngState, PngStateDeleter>(new PngState);
}

void PngStateDeleter::operator()(PngState* state) const {
    delete state;
}

void decode_png(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                RowSink& sink) {
    const ImageInfo info = inspect(bytes, options.limits);
    const Rect all{0, 0, info.width, info.height};
    const Rect& part = crop ? *crop : all;
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > info.width - part.width ||
        part.y > info.height - part.height)
        throw std::out_of_range("the crop is not inside the image");
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&image, bytes.data, bytes.size))
        throw DecodeError(std::string("damaged PNG: ") + image.message);
    image.format = PNG_FORMAT_RGBA;
    const std::ptrdiff_t stride = std::ptrdiff_t{4} * info.width;
    std::uint8_t* pixels = workspace.png->pixels.reserve(static_cast<std::size_t>(stride) * info.height);
    if (!png_image_finish_read(&image, nullptr, pixels, 0, nullptr))
        throw DecodeError(std::string("damaged PNG: ") + image.message);
    for (int y = 0; y < part.height; y++) {
        std::uint8_t* row = pixels + (y + part.y) * stride;
        for (int x = 0; x < info.width; x++)
            for (int c = 0; c < 3; c++) row[3 * x + c] = row[4 * x + c];
        sink.rows(y, 1, row + 3 * part.x, 0);
    }
}

}  // namespace gs
