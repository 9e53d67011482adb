#include "recode/recode.hpp"

#include <cstring>

#include "base/row_sinks.hpp"
#include "image/cost.hpp"
#include "image/decode.hpp"
#include "jpeg/jpeg.hpp"

namespace gs {
namespace {

// Compares rows with those that are known. Rows may come twice, and then the last ones count: so each row has
// its own result.
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

DecodeOptions strict_options(const Limits& limits, bool keep_coefficients) {
    DecodeOptions options;
    options.limits = limits;
    options.keep_coefficients = keep_coefficients;
    return options;
}

// The file is read, written and, to prove it, read again.
std::int64_t recoding_bytes(const ImageInfo& info, std::size_t encoded) {
    if (info.format == Format::webp) return decoding_bytes(info, encoded);  // it stays as it is
    return 3 * decoding_bytes(info, encoded);
}

}  // namespace

void Recoder::read(ByteView bytes, const Limits& limits) {
    bytes_ = bytes;
    limits_ = limits;
    file_.clear();
    original_ = {};
    info_ = inspect(bytes, limits);
    const std::size_t size =
        std::size_t{3} * static_cast<std::size_t>(info_.width) * static_cast<std::size_t>(info_.height);
    workspace_.memory.take(recoding_bytes(info_, bytes.size) + rgb_bytes(info_), limits.memory);
    CopyRows rows(pixels_.reserve(size), info_.width);
    decode(bytes, info_, nullptr, strict_options(limits, true), workspace_, rows);
}

const char* Recoder::recode(const RecodeOptions& options) {
    if (info_.format == Format::jpeg) return recode_jpeg(options.interval_width);
    if (info_.format != Format::png) return "neither JPEG nor PNG";
    return make_crop_ready_png(bytes_, info_.png, options.png, pixels_.data(), original_rows_, original_,
                               file_);
}

const char* Recoder::recode_jpeg(int interval_width) {
    JpegRecoding plan;
    const char* reason = plan_crop_ready_jpeg(bytes_, info_.jpeg, interval_width, plan);
    if (reason != nullptr) return reason;
    const JpegState& state = *workspace_.jpeg;
    return write_crop_ready_jpeg(bytes_, plan, state.kept ? &state.own : nullptr, encoder_, file_);
}

bool Recoder::shows_pixels(ByteView file) {
    std::vector<bool> equal(static_cast<std::size_t>(info_.height), false);
    CompareRows rows(pixels_.data(), info_.width, equal);
    try {
        made_ = inspect(file, limits_);
        if (made_.format != info_.format || made_.width != info_.width || made_.height != info_.height)
            return false;
        decode(file, made_, nullptr, strict_options(limits_, false), workspace_, rows);
    } catch (const DecodeError&) {
        return false;
    }
    for (const bool row : equal)
        if (!row) return false;
    return info_.format != Format::png || has_equal_rows(file, made_.png);
}

// What the pixels do not show. Read as any other reader would, from first byte to last.
bool Recoder::has_equal_rows(ByteView file, const png::Header& made_header) {
    png::Palette palette;
    const png::Header& header = info_.png;
    if (header.color != made_header.color || header.bit_depth != made_header.bit_depth) return false;
    if (is_plain_rgb(header) && is_plain_rgb(made_header)) return true;
    if (header.interlaced || made_header.interlaced) return false;  // never recoded, nor a result
    if (original_.data == nullptr)
        original_ = original_rows_.read(header, png::read_chunks(bytes_, header, true, palette, joined_));
    png::RowsView made;
    try {
        made = made_rows_.read(made_header, png::read_chunks(file, made_header, true, palette, joined_));
    } catch (const DecodeError&) {
        return false;
    }
    const std::size_t size = header.row_bytes(header.width);
    for (std::size_t y = 0; y < static_cast<std::size_t>(header.height); y++)
        if (std::memcmp(original_.data + y * original_.stride, made.data + y * made.stride, size) != 0)
            return false;
    return true;
}

void Recoder::settle() noexcept {
    if (workspace_.settle()) {
        pixels_.release();
        joined_.release();
        original_rows_.release();
        made_rows_.release();
        encoder_.release();
        file_ = std::vector<std::uint8_t>();
    }
}

const char* make_crop_ready(ByteView bytes, const RecodeOptions& options, const Limits& limits,
                            std::vector<std::uint8_t>& out) {
    out.clear();
    const ImageInfo info = inspect(bytes, limits);
    thread_local Workspace workspace;
    if (info.format == Format::png || info.format == Format::jpeg)
        workspace.memory.take(recoding_bytes(info, bytes.size), limits.memory);
    const bool large = workspace.memory.bytes() > Workspace::kKeptBytes;
    const SettleAfter settle{workspace};
    if (info.format == Format::png) {
        thread_local png::WholeRows original;
        png::RowsView rows;
        const char* reason = make_crop_ready_png(bytes, info.png, options.png, nullptr, original, rows, out);
        if (large) original.release();
        return reason;
    }
    if (info.format != Format::jpeg) return "neither JPEG nor PNG";
    JpegRecoding plan;
    bool doubtful = false;
    const char* reason = nullptr;
    try {
        reason = plan_crop_ready_jpeg(bytes, info.jpeg, options.interval_width, plan);
    } catch (const DecodeError&) {
        doubtful = true;
    }
    if (reason != nullptr) return reason;
    thread_local jpeg::ScanEncoder encoder;
    NoRows rows;
    decode(bytes, info, nullptr, strict_options(limits, true), workspace, rows);
    const JpegState& state = *workspace.jpeg;
    // Whatever decodes is sound: what only recoding trips over is a reason, not an error.
    reason = doubtful ? "a header that decoders read and the recoder does not"
                      : write_crop_ready_jpeg(bytes, plan, state.kept ? &state.own : nullptr, encoder, out);
    if (large) encoder.release();
    return reason;
}

}  // namespace gs
