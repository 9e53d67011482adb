// JPEG through libjpeg-turbo: every kind of JPEG that it knows. Our decoder gives the same pixels,
// bit for bit.
#pragma once

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include <csetjmp>

#include "base/buffer.hpp"
#include "base/types.hpp"
#include "jpeg/jpeg_header.hpp"
#include "jpeg/jpeg_memory.hpp"

namespace gs {

// Warnings that say nothing about the pixels. Real files carry them: cameras and editors write bytes of their
// own between the segments or before the end marker, odd JFIF versions and odd Adobe transform codes. Bytes
// left over before a restart marker are another matter: there the data did not fit the segment.
bool is_harmless(const jpeg_error_mgr& error);

// setjmp and destructors: libjpeg leaves its calls by longjmp when a file is damaged. No frame between setjmp
// and the libjpeg call may hold an object with a destructor; everything that has one lives here, where the
// jump does not reach.
class JpegLibrary {
  public:
    JpegLibrary();
    ~JpegLibrary();
    JpegLibrary(const JpegLibrary&) = delete;
    JpegLibrary& operator=(const JpegLibrary&) = delete;

    // Decodes `crop`, which lies inside the image that `header` describes. Throws DecodeError. The sink may
    // have received rows by then.
    void decode(ByteView bytes, const jpeg::Header& header, const Rect& crop, const DecodeOptions& options,
                RowSink& sink);

    // More scans than any encoder writes are an attack: each one walks over all coefficients again.
    static constexpr int kMaxScans = 256;

  private:
    static void on_error(j_common_ptr common);
    static void on_message(j_common_ptr common, int level);
    static void on_progress(j_common_ptr common);
    bool has_read(const jpeg::Header& header) const;
    bool run(ByteView bytes, const jpeg::Header& header, const Rect& crop, std::uint8_t* rows,
             std::size_t stride, RowSink& sink);
    void forget_tables();
    bool can_skip() const;
    void read_rows(const Rect& crop, int x_offset, std::uint8_t* rows, std::size_t stride, RowSink& sink);

    jpeg_decompress_struct cinfo_{};
    jpeg_error_mgr errors_{};
    jpeg_progress_mgr progress_{};
    std::jmp_buf jump_;
    char message_[JMSG_LENGTH_MAX + 64] = "";
    bool strict_ = true;
    int scale_ = 1;
    JpegMemory memory_;
    Buffer rows_;
};

}  // namespace gs
