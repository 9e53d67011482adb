#include "image/subject.hpp"

#include "image/cost.hpp"

namespace gs {

Subject::Subject(ByteView encoded, const DecodeOptions& options, ForeignDecoder* foreign,
                 Workspace& workspace, int copies)
    : bytes(encoded),
      info(inspect(encoded, options.limits)),
      settle{workspace},
      size{info.width, info.height} {
    if (decoded_here(info.format)) {
        workspace.memory.take(decoding_bytes(info, encoded.size) + copies * rgb_bytes(info),
                              options.limits.memory);
        return;
    }
    if (!foreign)
        throw DecodeError(std::string("a ") + format_name(info.format) + " image: not decoded here");
    size = foreign->decode(bytes, options, workspace.foreign, workspace.memory);
    pixels = workspace.foreign.data();
}

void check_planned_size(Size image, Size planned) {
    if (image.width == planned.width && image.height == planned.height) return;
    const auto text = [](Size size) {
        return std::to_string(size.width) + "x" + std::to_string(size.height);
    };
    throw DecodeError("the image has " + text(image) + " pixels, but the index says " + text(planned) +
                      ": the index and the file disagree, `shard-tools verify` lists all such samples");
}

}  // namespace gs
