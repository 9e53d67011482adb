#include "image/decode.hpp"

namespace gs {

void decode(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
            RowSink& sink) {
    const Format format = sniff(bytes);
    if (format == Format::jpeg) return decode_jpeg(bytes, crop, options, workspace, sink);
    if (format == Format::png) return decode_png(bytes, crop, options, workspace, sink);
    if (bytes.size == 0) throw DecodeError("the file is empty");
    throw DecodeError(std::string("not a JPEG or PNG image (") + format_name(format) + ")");
}

}  // namespace gs
