#include "image/decode.hpp"

#include "image/cost.hpp"
#include "image/decode_png.hpp"
#include "jpeg/jpeg.hpp"
#include "webp/webp.hpp"

namespace gs {

void decode(ByteView bytes, const ImageInfo& info, const Rect* crop, const DecodeOptions& options,
            Workspace& workspace, RowSink& sink) {
    if (!decoded_here(info.format))
        throw DecodeError(std::string("not a JPEG, PNG or WebP image (") + format_name(info.format) + ")");
    const int scale = info.format == Format::jpeg ? options.dct_scale : 1;
    const int width = (info.width + scale - 1) / scale, height = (info.height + scale - 1) / scale;
    const Rect part = crop != nullptr ? *crop : Rect{0, 0, width, height};
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > width - part.width ||
        part.y > height - part.height)
        throw std::out_of_range("the crop is not inside the image of " + std::to_string(width) + "x" +
                                std::to_string(height));
    if (workspace.memory.bytes() == 0)
        workspace.memory.take(decoding_bytes(info, bytes.size), options.limits.memory);
    if (info.format == Format::jpeg)
        decode_jpeg(bytes, info.jpeg, part, options, *workspace.jpeg, sink);
    else if (info.format == Format::webp)
        decode_webp(bytes, info.webp, part, workspace.foreign, sink);
    else
        decode_png(bytes, info.png, part, options, *workspace.png, sink);
}

}  // namespace gs
