// Decodes a crop of a crop-ready PNG from the bands that cover it (see png_band_table.hpp).
#pragma once

#include <vector>

#include "bands/literal_decode.hpp"
#include "bands/png_band_table.hpp"
#include "base/buffer.hpp"
#include "base/lazy_bytes.hpp"
#include "base/types.hpp"

struct libdeflate_decompressor;

namespace gs::png {

class BandReader {
  public:
    BandReader() = default;
    ~BandReader();
    BandReader(const BandReader&) = delete;
    BandReader& operator=(const BandReader&) = delete;

    // Hands the rows of `part` to the sink and returns true; or returns false, nothing handed over, when the
    // file has no table, when table, chunks and checksums of what the crop needs do not agree, or when the
    // file ends early: then the plain decoder has to do it, and to say what is wrong. Throws DecodeError when
    // all checksums are right and the data is wrong nevertheless.
    //
    // With `lazy`, only the chunks up to the first band and those of the crop's bands are read and looked at;
    // also false when that would be most of the file.
    bool decode(ByteView bytes, const Header& header, const Rect& part, RowSink& sink,
                LazyBytes* lazy = nullptr);

    // Where the bands lie in a crop-ready PNG: the rows of a band, the first band's position, the end of
    // each. Empty when the file has no table or its chunks are not what the table says.
    static std::vector<std::int64_t> positions(ByteView bytes, const Header& header);

  private:
    struct Window;
    struct File;
    void decode_literal_band(const Window& w, ByteView band, int index, int rows);
    void decode_deflate_band(const Window& w, ByteView band, int index);
    void copy_stored_band(const Window& w, ByteView band, int index, int rows);

    LiteralTable literals_;
    std::vector<LiteralRun> runs_;
    std::vector<ByteView> bands_;  // compressed data of those that cover the crop
    Buffer rows_;                  // of one band, filtered
    Buffer plain_;                 // the same, unfiltered, behind a row of zeros
    Buffer rgb_;                   // the same, converted
    Buffer stream_;                // a band's compressed data, with an end put to it
    libdeflate_decompressor* inflater_ = nullptr;
};

}  // namespace gs::png
