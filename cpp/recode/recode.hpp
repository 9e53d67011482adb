// One image on its way into a crop-ready dataset: decoded once, recoded from what that gave, and the result
// decoded and compared.
#pragma once

#include <vector>

#include "base/buffer.hpp"
#include "base/workspace.hpp"
#include "image/inspect.hpp"
#include "recode/crop_ready_jpeg.hpp"
#include "recode/crop_ready_png.hpp"
#include "recode/jpeg_encode.hpp"

namespace gs {

struct RecodeOptions {
    PngRecodeOptions png;
    int interval_width = kIntervalWidth;  // of JPEGs, pixels; 0: no restart markers (measurements compare)
};

// Used by one thread at a time.
class Recoder {
  public:
    // Decodes a JPEG or PNG in full into `pixels`. Throws DecodeError. `bytes` must stay until the
    // proof is done.
    void read(ByteView bytes, const Limits& limits);

    // Recodes the image that was read into `file`. Returns nullptr, or the reason why it is kept as it is.
    // Throws DecodeError when it cannot be recoded.
    const char* recode(const RecodeOptions& options);

    // Decodes `file` in full, strictly: whether it is an image of the same format that shows `pixels`, and,
    // of a PNG, whose rows are equal in every byte: alpha and the low bytes of 16 bits too.
    bool is_proven() { return shows_pixels({file_.data(), file_.size()}); }
    bool shows_pixels(ByteView file);

    const ImageInfo& info() const { return info_; }
    // (height, width, 3), RGB, without gaps.
    const std::uint8_t* pixels() { return pixels_.data(); }
    const std::vector<std::uint8_t>& file() const { return file_; }
    // Of the file that was compared last.
    const ImageInfo& made() const { return made_; }

    // To be called after each image: what an uncommonly large one needed is given back.
    void settle() noexcept;

  private:
    const char* recode_jpeg(int interval_width);
    bool has_equal_rows(ByteView file, const png::Header& made_header);

    ByteView bytes_;
    Limits limits_;
    ImageInfo info_, made_;
    Workspace workspace_;
    jpeg::ScanEncoder encoder_;
    Buffer pixels_;
    Buffer joined_;
    png::WholeRows original_rows_, made_rows_;  // of PNGs that are not plain RGB
    png::RowsView original_;                    // once they are read
    std::vector<std::uint8_t> file_;
};

// The recoded file without a proof, as Recoder::recode, and without decoding what need not be.
const char* make_crop_ready(ByteView bytes, const RecodeOptions& options, const Limits& limits,
                            std::vector<std::uint8_t>& out);

}  // namespace gs
