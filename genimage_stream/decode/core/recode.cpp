#include "recode.hpp"

#include <cstring>

#include "crop_ready_jpeg.hpp"
#include "decode.hpp"
#include "jpeg_state.hpp"

namespace gs {
namespace {

class KeepRows : public RowSink {
  public:
    KeepRows(std::uint8_t* to, int width) : to_(to), row_(std::size_t{3} * static_cast<std::size_t>(width)) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        for (int i = 0; i < count; i++)
            std::memcpy(to_ + row_ * static_cast<std::size_t>(first + i), rgb + i * stride, row_);
    }

  private:
    std::uint8_t* to_;
    std::size_t row_;
};

// Compares rows with those that are known. Rows may come twice, and then the last time counts: so each is
// remembered for itself.
class CompareRows : public RowSink {
  public:
    CompareRows(const std::uint8_t* known, int width, std::vector<bool>& equal)
        : known_(known), row_(std::size_t{3} * static_cast<std::size_t>(width)), equal_(equal) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        for (int i = 0; i < count; i++) {
            const auto y = static_cast<std::size_t>(first + i);
            equal_[y] = std::memcmp(known_ + row_ * y, rgb + i * stride, row_) == 0;
        }
    }

  private:
    const std::uint8_t* known_;
    std::size_t row_;
    std::vector<bool>& equal_;
};

class NoRows : public RowSink {
  public:
    void rows(int, int, const std::uint8_t*, std::ptrdiff_t) noexcept override {}
};

DecodeOptions strict_options(const Limits& limits, bool keep_coefficients) {
    DecodeOptions options;
    options.limits = limits;
    options.keep_coefficients = keep_coefficients;
    return options;
}

}  // namespace

void Recoder::read(ByteView bytes, const Limits& limits) {
    bytes_ = bytes;
    limits_ = limits;
    file_.clear();
    info_ = inspect(bytes, limits);
    const std::size_t size =
        std::size_t{3} * static_cast<std::size_t>(info_.width) * static_cast<std::size_t>(info_.height);
    KeepRows rows(pixels_.reserve(size), info_.width);
    decode(bytes, nullptr, strict_options(limits, true), workspace_, rows);
}

const char* Recoder::recode(const PngRecodeOptions& options) {
    if (info_.format == Format::png)
        return make_crop_ready_png(bytes_, options, limits_, pixels_.data(), file_);
    return recode_jpeg();
}

const char* Recoder::recode_jpeg() {
    JpegRecoding plan;
    const char* reason = plan_crop_ready_jpeg(bytes_, plan);
    if (reason != nullptr) return reason;
    const JpegState& state = *workspace_.jpeg;
    return write_crop_ready_jpeg(bytes_, plan, state.kept ? &state.own : nullptr, encoder_, file_);
}

bool Recoder::shows_pixels(ByteView file) {
    std::vector<bool> equal(static_cast<std::size_t>(info_.height), false);
    CompareRows rows(pixels_.data(), info_.width, equal);
    try {
        const ImageInfo made = inspect(file, limits_);
        if (made.format != info_.format || made.width != info_.width || made.height != info_.height)
            return false;
        decode(file, nullptr, strict_options(limits_, false), workspace_, rows);
    } catch (const DecodeError&) {
        return false;
    }
    for (const bool row : equal)
        if (!row) return false;
    return true;
}

void Recoder::settle() noexcept {
    const std::int64_t pixels = std::int64_t{info_.width} * info_.height;
    workspace_.settle(pixels, bytes_.size);
    if (pixels > Workspace::kKeptPixels || bytes_.size > Workspace::kKeptBytes) {
        pixels_.release();
        encoder_.release();
        file_ = std::vector<std::uint8_t>();
    }
}

const char* make_crop_ready(ByteView bytes, const PngRecodeOptions& options, const Limits& limits,
                            std::vector<std::uint8_t>& out) {
    out.clear();
    const ImageInfo info = inspect(bytes, limits);
    if (info.format == Format::png) return make_crop_ready_png(bytes, options, limits, nullptr, out);
    if (info.format != Format::jpeg) return "neither JPEG nor PNG";
    JpegRecoding plan;
    const char* reason = plan_crop_ready_jpeg(bytes, plan);
    if (reason != nullptr) return reason;
    thread_local Workspace workspace;
    thread_local jpeg::ScanEncoder encoder;
    NoRows rows;
    decode(bytes, nullptr, strict_options(limits, true), workspace, rows);
    const JpegState& state = *workspace.jpeg;
    reason = write_crop_ready_jpeg(bytes, plan, state.kept ? &state.own : nullptr, encoder, out);
    const std::int64_t pixels = std::int64_t{info.width} * info.height;
    workspace.settle(pixels, bytes.size);
    if (pixels > Workspace::kKeptPixels || bytes.size > Workspace::kKeptBytes) encoder.release();
    return reason;
}

}  // namespace gs
