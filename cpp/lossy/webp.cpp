#include "lossy/webp.hpp"

#include <webp/encode.h>

#include <new>
#include <stdexcept>
#include <string>

#include "base/row_sinks.hpp"
#include "webp/webp.hpp"

namespace gs::transform {
namespace {

struct Picture {
    WebPPicture it{};
    Picture() {
        if (WebPPictureInit(&it) == 0)
            throw DecodeError("libwebp is not the version that this was built for");
    }
    ~Picture() { WebPPictureFree(&it); }
    Picture(const Picture&) = delete;
    Picture& operator=(const Picture&) = delete;
};

struct Written {
    WebPMemoryWriter it{};
    Written() { WebPMemoryWriterInit(&it); }
    ~Written() { WebPMemoryWriterClear(&it); }
    Written(const Written&) = delete;
    Written& operator=(const Written&) = delete;
};

class WebpStep final : public WholeStep {
  public:
    explicit WebpStep(int quality) : quality_(quality) {}

    Size size(Size in) const override {
        if (in.width > WEBP_MAX_DIMENSION || in.height > WEBP_MAX_DIMENSION)
            throw std::invalid_argument("an image of " + std::to_string(in.width) + "x" +
                                        std::to_string(in.height) + " is too large for WebP, which ends at " +
                                        std::to_string(WEBP_MAX_DIMENSION) + " pixels");
        return in;
    }

    void run(const Part& in, const Rect& window, const Canvas& out, Scratch& scratch) const override {
        WebPConfig config;
        Picture picture;
        Written file;
        if (WebPConfigInit(&config) == 0)
            throw DecodeError("libwebp is not the version that this was built for");
        config.quality = static_cast<float>(quality_);
        picture.it.use_argb = 1;  // converted to YUV by the encoder, as for Pillow
        picture.it.width = in.whole.width;
        picture.it.height = in.whole.height;
        picture.it.writer = WebPMemoryWrite;
        picture.it.custom_ptr = &file.it;
        if (WebPPictureImportRGB(&picture.it, in.rgb, static_cast<int>(in.stride)) == 0)
            throw std::bad_alloc();
        if (WebPEncode(&config, &picture.it) == 0) {
            if (picture.it.error_code == VP8_ENC_ERROR_OUT_OF_MEMORY) throw std::bad_alloc();
            throw DecodeError("libwebp cannot write an image of " + std::to_string(in.whole.width) + "x" +
                              std::to_string(in.whole.height) + " at quality " + std::to_string(quality_) +
                              " (error " + std::to_string(picture.it.error_code) + ")");
        }
        CopyRows rows(out.rgb, window.width, static_cast<std::size_t>(out.stride));
        const ByteView bytes{file.it.mem, file.it.size};
        decode_webp(bytes, read_webp_header(bytes), window, scratch.a, rows);
    }

  private:
    int quality_;
};

}  // namespace

std::shared_ptr<const Step> webp_step(int quality) {
    return std::make_shared<WebpStep>(quality);
}

}  // namespace gs::transform
