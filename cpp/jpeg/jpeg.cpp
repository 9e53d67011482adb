// A JPEG, or a part of one: checks the header and the end, then chooses the decoder.
#include "jpeg/jpeg.hpp"

#include <atomic>
#include <string>

#include "base/cpu.hpp"
#include "base/row_sinks.hpp"

namespace gs {
namespace {

enum class Path { automatic, libjpeg, own, no_pdep, plain };
std::atomic<Path> path{Path::automatic};

// nullptr: libjpeg alone. Without AVX2 or NEON libjpeg-turbo's vector code beats our plain one.
const jpeg::Kernels* own_kernels() {
    const Path chosen = path.load(std::memory_order_relaxed);
    if (chosen == Path::libjpeg) return nullptr;
    if (chosen == Path::plain) return &jpeg::kPlainKernels;
    const jpeg::Kernels* fastest = jpeg::vector_kernels(chosen != Path::no_pdep);
    return fastest == nullptr && chosen != Path::automatic ? &jpeg::kPlainKernels : fastest;
}

}  // namespace

const jpeg::Kernels* jpeg::vector_kernels(bool pdep) {
    if (simd_level() >= Simd::avx2) return avx2_kernels(pdep);
    return simd_level() == Simd::neon ? neon_kernels() : nullptr;
}

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

void decode_jpeg(ByteView bytes, const jpeg::Header& header, const Rect& part, const DecodeOptions& options,
                 JpegState& state, RowSink& sink) {
    if (header.precision != 8)
        throw DecodeError("unsupported JPEG: " + std::to_string(header.precision) +
                          " bits per sample (only 8 are)");
    // libjpeg-turbo 3 knows some of them, version 2 none: no image may depend on the version.
    if (header.is_lossless()) throw DecodeError("unsupported JPEG: lossless coding");
    // A crop ends before the end of the data, so that decoding alone would not notice that it is cut off.
    if (options.strict && !jpeg::has_end_marker(bytes, header.entropy_begin))
        throw DecodeError("truncated JPEG: no end marker");
    const jpeg::Kernels* own = own_kernels();
    state.kept = false;
    if (options.dct_scale == 1 && own != nullptr &&
        state.own.decode(bytes, header, part, *own, sink, options.keep_coefficients)) {
        state.kept = options.keep_coefficients;
        return;
    }
    // libjpeg stops below the crop, and above damage there may be wrong pixels already: rows that belong
    // further down. In doubt it has to read all of the file first.
    const int scale = options.dct_scale;
    const int width = (header.width + scale - 1) / scale, height = (header.height + scale - 1) / scale;
    if (options.strict && part.y + part.height < height && !jpeg::restart_markers_fit(bytes, header)) {
        NoRows none;
        state.library.decode(bytes, header, {0, 0, width, height}, options, none);
    }
    state.library.decode(bytes, header, part, options, sink);
}

}  // namespace gs
