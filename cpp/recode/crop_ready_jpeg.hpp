// A JPEG in the crop-ready form: the same coefficients, coded so that a crop can begin in the middle.
#pragma once

#include <vector>

#include "base/types.hpp"
#include "jpeg/jpeg_header.hpp"
#include "jpeg/jpeg_own.hpp"
#include "recode/jpeg_encode.hpp"

namespace gs {

constexpr int kIntervalWidth = 64;  // of a restart interval, pixels; docs/crop-ready.md has the measurements

// The form is one baseline scan, Huffman tables made for the file, and restart intervals that divide the rows
// of MCUs. Coefficients, quantisation tables, sampling, and all APPn and COM segments are carried over, and
// so is what follows the end of the image.
struct JpegRecoding {
    std::vector<jpeg::Segment> segments;  // that stay: of the header, and APPn and COM between scans
    std::size_t header_bytes = 0;
    std::size_t end_of_image = 0;  // behind its marker
    int interval = 0;              // MCUs
};

// How a file is to be recoded, with restart intervals of about that many pixels (0: none). Returns nullptr,
// or the reason why it is kept as it is: arithmetic or lossless coding, more than 8 bits, already crop-ready,
// bytes between its segments, or metadata that depends on positions of bytes. Throws DecodeError when the
// header is damaged.
const char* plan_crop_ready_jpeg(ByteView bytes, const jpeg::Header& header, int interval_width,
                                 JpegRecoding& plan);

// Writes it to `out`: from the coefficients that `decoded` kept of this very file (OwnDecoder::decode with
// `keep`), or, where that is nullptr or baseline cannot hold them, from those that libjpeg reads. Returns a
// reason as above, with `out` empty (a progression that stops early, sampling factors or coefficients that
// one baseline scan cannot hold, bytes that belong to nothing), or nullptr. Throws DecodeError when the
// file is damaged.
const char* write_crop_ready_jpeg(ByteView bytes, const JpegRecoding& plan, const jpeg::OwnDecoder* decoded,
                                  jpeg::ScanEncoder& encoder, std::vector<std::uint8_t>& out);

// The restart interval for such a file, in MCUs: the divisor of `mcus_per_row` nearest
// to `interval_width` pixels.
int restart_interval_for(int mcus_per_row, int mcu_width, int interval_width);

}  // namespace gs
