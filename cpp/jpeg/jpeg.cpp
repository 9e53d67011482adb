// A JPEG, or a part of one: checks the header and the end, then chooses the decoder.
#include <atomic>

#include "base/cpu.hpp"
#include "image/decode.hpp"
#include "jpeg/jpeg_layout.hpp"
#include "jpeg/jpeg_state.hpp"

namespace gs {
namespace {

class NoRows : public RowSink {
  public:
    void rows(int, int, const std::uint8_t*, std::ptrdiff_t) noexcept override {}
};

enum class Path { automatic, libjpeg, own, no_pdep, plain };
std::atomic<Path> path{Path::automatic};

// nullptr: libjpeg alone. Without AVX2 (or its like) libjpeg-turbo's vector code beats the own decoder's
// plain one.
const jpeg::Kernels* own_kernels() {
    const Path chosen = path.load(std::memory_order_relaxed);
    if (chosen == Path::libjpeg) return nullptr;
    if (chosen == Path::plain) return &jpeg::kPlainKernels;
    const jpeg::Kernels* fastest =
        simd_level() == Simd::avx2 ? jpeg::avx2_kernels(chosen != Path::no_pdep) : nullptr;
    return fastest == nullptr && chosen != Path::automatic ? &jpeg::kPlainKernels : fastest;
}

}  // namespace

bool set_jpeg_path(std::string_view name) {
    if (name == "auto")
        path = Path::automatic;
    else if (name == "libjpeg")
        path = Path::libjpeg;
    else if (name == "own")
        path = Path::own;
    else if (name == "no_pdep")
        path = Path::no_pdep;
    else if (name == "plain")
        path = Path::plain;
    else
        return false;
    return true;
}

std::unique_ptr<JpegState, JpegStateDeleter> make_jpeg_state() {
    return std::unique_ptr<JpegState, JpegStateDeleter>(new JpegState);
}

void JpegStateDeleter::operator()(JpegState* state) const {
    delete state;
}

void decode_jpeg(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                 RowSink& sink) {
    JpegState& state = *workspace.jpeg;
    const ImageInfo info = inspect(bytes, options.limits);
    const int scale = options.dct_scale;
    const int width = (info.width + scale - 1) / scale, height = (info.height + scale - 1) / scale;
    const Rect all{0, 0, width, height};
    const Rect& part = crop ? *crop : all;
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > width - part.width ||
        part.y > height - part.height)
        throw std::out_of_range("the crop is not inside the image");
    if (info.bit_depth != 8)
        throw DecodeError("unsupported JPEG: " + std::to_string(info.bit_depth) +
                          " bits per sample (only 8 are)");
    // libjpeg-turbo 3 knows some of them, version 2 none: no image may depend on the version.
    if (info.lossless) throw DecodeError("unsupported JPEG: lossless coding");
    // A crop ends before the end of the data, so that decoding alone would not notice that it is cut off.
    if (options.strict && !has_end_marker(bytes, info.entropy_begin))
        throw DecodeError("truncated JPEG: no end marker");
    const jpeg::Kernels* own = own_kernels();
    state.kept = false;
    if (scale == 1 && own != nullptr &&
        state.own.decode(bytes, part, *own, sink, options.keep_coefficients)) {
        state.kept = options.keep_coefficients;
        return;
    }
    // libjpeg stops below the crop, and above damage there may be wrong pixels already: rows that belong
    // further down. In doubt it has to read all of the file first.
    if (options.strict && part.y + part.height < height && !restart_markers_fit(bytes)) {
        NoRows none;
        state.library.decode(bytes, info, all, options, none);
    }
    state.library.decode(bytes, info, part, options, sink);
}

}  // namespace gs
