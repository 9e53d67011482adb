// WebP: as for JPEG, and libwebp's own WebPAnimDecoder, which Pillow uses, accepts the same files and shows the same
// pixels.
#include <webp/demux.h>

#include <memory>

#include "support.hpp"

namespace {

struct Delete {
    void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

// The first frame's pixels as RGB; nothing when it refuses.
std::optional<std::vector<std::uint8_t>> by_libwebp(gs::ByteView bytes) {
    const WebPData data{bytes.data, bytes.size};
    const std::unique_ptr<WebPAnimDecoder, Delete> decoder(WebPAnimDecoderNew(&data, nullptr));
    WebPAnimInfo info;
    std::uint8_t* rgba = nullptr;
    int time = 0;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
        !WebPAnimDecoderGetNext(decoder.get(), &rgba, &time))
        return std::nullopt;
    std::vector<std::uint8_t> pixels;
    const std::size_t count = std::size_t{info.canvas_width} * info.canvas_height;
    pixels.reserve(3 * count);
    for (std::size_t i = 0; i < count; i++) pixels.insert(pixels.end(), rgba + 4 * i, rgba + 4 * i + 3);
    return pixels;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    if (gs::sniff(p.image()) != gs::Format::webp) return 0;
    fuzz::check_decoder(p);
    const auto info = fuzz::info_of(p.image());
    if (!info) return 0;  // too large, too
    const auto whole = fuzz::pixels_of(p.image(), {0, 0, info->width, info->height}, true);
    FUZZ_CHECK(whole == by_libwebp(p.image()), "libwebp shows other pixels, or has another verdict");
    return 0;
}
