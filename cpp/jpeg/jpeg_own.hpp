// Our decoder for Huffman-coded JPEGs, sequential and progressive: bit for bit libjpeg-turbo's pixels,
// faster, and with a crop only as much work as the crop needs.
//
// MCUs above, left and right of the crop are only Huffman-decoded; what lies below is not touched; whole
// restart intervals that the crop does not need are not even Huffman-decoded.
#pragma once

#include "base/buffer.hpp"
#include "base/types.hpp"
#include "jpeg/jpeg_progressive.hpp"
#include "jpeg/jpeg_scan.hpp"

namespace gs::jpeg {

class OwnDecoder {
  public:
    // Decodes `crop`, which lies inside the image. False: the image is of another kind, or something about it
    // is wrong or doubtful, so that libjpeg has to decode it; the sink may have received rows by then. With
    // `keep`, the coefficients of the whole image are there afterwards.
    bool decode(ByteView bytes, const Header& header, const Rect& crop, const Kernels& kernels, RowSink& sink,
                bool keep = false);
    const CoefficientPlane* planes() const { return progressive_.planes(); }
    const Header& header() const { return header_; }

  private:
    // The part of the image to be decoded, in MCUs: what the crop covers and what upsampling needs around it.
    struct Region {
        int left, right, top, bottom;  // right and bottom exclusive
    };
    struct Plane {
        Buffer buffer;
        std::uint8_t* origin = nullptr;  // first sample of the MCU row; the row above it is one stride up
        std::ptrdiff_t stride = 0;
        int width = 0;  // of the image in samples of this component
        int height = 0;
        int first_x = 0;   // the image column of origin
        int decoded = 0;   // samples in a row
        int mcu_rows = 8;  // sample rows of an MCU row
    };

    bool prepare(ByteView bytes, const Header& header, const Rect& crop, const Kernels& kernels, bool keep);
    bool prepare_scan(ByteView bytes);
    bool build_tables();
    void make_group();
    bool decode_row(int row, const Kernels& kernels);
    void make_planes();
    bool move_to(std::int64_t mcu, const Kernels& kernels);
    void pad_edges();
    void keep_last_rows();
    void emit(int mcu_row, int begin, int end, const Rect& crop, const Kernels& kernels, RowSink& sink);
    const std::uint8_t* chroma_row(int component, int mcu_row, int y, const Rect& crop,
                                   const Kernels& kernels);

    Header header_;
    HuffmanTable dc_[4];
    HuffmanTable ac_[4];
    Scan scan_;
    ProgressiveImage progressive_;
    bool from_coefficients_ = false;  // which `progressive_` has, whatever the file is
    Region region_{};
    std::int64_t position_ = 0;  // the next MCU of the scan
    Plane planes_[3];
    Buffer upsampled_[2];
    Buffer pixels_;
};

}  // namespace gs::jpeg
