#include "image/subject.hpp"

namespace gs {

Subject::Subject(ByteView encoded, const DecodeOptions& options, ForeignDecoder* foreign,
                 Workspace& workspace)
    : bytes(encoded),
      info(inspect(encoded, options.limits)),
      settle{workspace, std::int64_t{info.width} * info.height, encoded.size},
      size{info.width, info.height} {
    if (info.format == Format::jpeg || info.format == Format::png) return;
    if (!foreign)
        throw DecodeError(std::string("a ") + format_name(info.format) + " image: not decoded here");
    size = foreign->decode(bytes, options, workspace.foreign);
    pixels = workspace.foreign.data();
    settle.pixels = std::int64_t{size.width} * size.height;
}

}  // namespace gs
