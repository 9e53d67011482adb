#include "jpeg/jpeg_library.hpp"

#include <jerror.h>

#include <algorithm>
#include <cstring>

namespace gs {
namespace {

constexpr int kRowsAtOnce = 16;

// CMYK to RGB as Pillow's convert("RGB") does it on the inverted samples that Adobe's software writes (Pillow
// takes all four-component files for such): channel * black / 255, rounded.
void cmyk_to_rgb(std::uint8_t* row, unsigned width) {
    for (unsigned x = 0; x < width; x++) {
        const int black = row[4 * x + 3];
        for (unsigned c = 0; c < 3; c++) {
            const int t = row[4 * x + c] * black + 128;
            row[3 * x + c] = static_cast<std::uint8_t>((t + (t >> 8)) >> 8);
        }
    }
}

}  // namespace

bool is_harmless(const jpeg_error_mgr& error) {
    switch (error.msg_code) {
        case JWRN_EXTRANEOUS_DATA:
            return error.msg_parm.i[1] < 0xD0 || error.msg_parm.i[1] > 0xD7;
        case JWRN_JFIF_MAJOR:
        case JWRN_ADOBE_XFORM:
            return true;
        default:
            return false;
    }
}

JpegLibrary::JpegLibrary() {
    cinfo_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    progress_.progress_monitor = on_progress;
    jpeg_create_decompress(&cinfo_);  // keeps err and client_data, clears the rest
    cinfo_.client_data = this;
    cinfo_.progress = &progress_;
    memory_.adopt(reinterpret_cast<j_common_ptr>(&cinfo_));
}

JpegLibrary::~JpegLibrary() {
    memory_.release(reinterpret_cast<j_common_ptr>(&cinfo_));
    jpeg_destroy_decompress(&cinfo_);
}

void JpegLibrary::on_error(j_common_ptr common) {
    auto* self = static_cast<JpegLibrary*>(common->client_data);
    const int code = common->err->msg_code;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    const bool truncated = code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY;
    std::snprintf(self->message_, sizeof self->message_, "%s JPEG: %s", truncated ? "truncated" : "damaged",
                  text);
    std::longjmp(self->jump_, 1);
}

void JpegLibrary::on_message(j_common_ptr common, int level) {
    auto* self = static_cast<JpegLibrary*>(common->client_data);
    if (level < 0 && self->strict_ && !is_harmless(*common->err)) on_error(common);
}

void JpegLibrary::on_progress(j_common_ptr common) {
    auto* self = static_cast<JpegLibrary*>(common->client_data);
    if (self->cinfo_.input_scan_number <= kMaxScans) return;
    std::snprintf(self->message_, sizeof self->message_, "damaged JPEG: more than %d scans", kMaxScans);
    std::longjmp(self->jump_, 1);
}

// Whether jpeg_crop_scanline and jpeg_skip_scanlines, with an MCU of context on each side, are known to give
// the pixels of a full decode. Left out: samplings that no common encoder writes; progressive files whose
// scans are incomplete, because libjpeg then smooths blocks by looking at their neighbours; damaged files
// shown as far as they go.
bool JpegLibrary::can_skip() const {
    if (!strict_ || scale_ != 1) return false;
    const jpeg_component_info* c = cinfo_.comp_info;
    if (cinfo_.num_components == 3) {
        if (c[1].h_samp_factor != 1 || c[1].v_samp_factor != 1 || c[2].h_samp_factor != 1 ||
            c[2].v_samp_factor != 1 || c[0].h_samp_factor > 2 || c[0].v_samp_factor > 2)
            return false;
    } else if (cinfo_.num_components != 1 || c[0].h_samp_factor != 1 || c[0].v_samp_factor != 1) {
        return false;
    }
    if (cinfo_.progressive_mode) {
        if (cinfo_.coef_bits == nullptr) return false;
        for (int i = 0; i < cinfo_.num_components; i++)
            for (int k = 0; k < DCTSIZE2; k++)
                if (cinfo_.coef_bits[i][k] != 0) return false;
    }
    return true;
}

void JpegLibrary::read_rows(const Rect& crop, int x_offset, std::uint8_t* rows, std::size_t stride,
                            RowSink& sink) {
    const int bottom = crop.y + crop.height;
    JSAMPROW list[kRowsAtOnce];
    for (int i = 0; i < kRowsAtOnce; i++) list[i] = rows + stride * static_cast<std::size_t>(i);
    int y = static_cast<int>(cinfo_.output_scanline);
    while (y < bottom) {
        const int wanted = std::min(kRowsAtOnce, (y < crop.y ? crop.y : bottom) - y);
        int filled = 0;
        while (filled < wanted) {
            const auto got = static_cast<int>(
                jpeg_read_scanlines(&cinfo_, list + filled, static_cast<JDIMENSION>(wanted - filled)));
            if (got == 0) ERREXIT(&cinfo_, JERR_CANT_SUSPEND);  // cannot be with all the bytes in memory
            filled += got;
        }
        if (y >= crop.y) {
            if (cinfo_.output_components == 4)
                for (int i = 0; i < filled; i++) cmyk_to_rgb(list[i], cinfo_.output_width);
            sink.rows(y - crop.y, filled, rows + 3 * (crop.x - x_offset),
                      static_cast<std::ptrdiff_t>(stride));
        }
        y += filled;
    }
}

// libjpeg keeps the tables of one file for the next, for streams that send them apart. Here images are
// independent: one without tables must not be shown with those of the image before. The tables, and the
// source manager that jpeg_mem_src makes, are all that lives in the permanent pool since adopt().
void JpegLibrary::forget_tables() {
    for (auto& table : cinfo_.quant_tbl_ptrs) table = nullptr;
    for (auto& table : cinfo_.dc_huff_tbl_ptrs) table = nullptr;
    for (auto& table : cinfo_.ac_huff_tbl_ptrs) table = nullptr;
    cinfo_.src = nullptr;
    (*cinfo_.mem->free_pool)(reinterpret_cast<j_common_ptr>(&cinfo_), JPOOL_PERMANENT);
}

// Whether libjpeg has read the same header. The rows and the limits are measured by `header`, so nothing may
// be decoded by another one.
bool JpegLibrary::has_read(const jpeg::Header& header) const {
    return static_cast<std::int64_t>(cinfo_.image_width) == header.width &&
           static_cast<std::int64_t>(cinfo_.image_height) == header.height &&
           cinfo_.data_precision == header.precision && cinfo_.num_components <= 4;
}

bool JpegLibrary::run(ByteView bytes, const jpeg::Header& header, const Rect& crop, std::uint8_t* rows,
                      std::size_t stride, RowSink& sink) {
    if (setjmp(jump_)) {
        jpeg_abort_decompress(&cinfo_);
        return false;
    }
    jpeg_mem_src(&cinfo_, bytes.data, static_cast<unsigned long>(bytes.size));
    jpeg_read_header(&cinfo_, TRUE);
    if (!has_read(header)) {
        std::snprintf(message_, sizeof message_, "damaged JPEG: its header can be read in two ways");
        std::longjmp(jump_, 1);
    }
    cinfo_.dct_method = JDCT_ISLOW;
    cinfo_.do_fancy_upsampling = TRUE;
    cinfo_.out_color_space = cinfo_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    cinfo_.scale_num = 1;
    cinfo_.scale_denom = static_cast<unsigned>(scale_);
    jpeg_start_decompress(&cinfo_);
    const int mcu_width = cinfo_.max_h_samp_factor * DCTSIZE, mcu_height = cinfo_.max_v_samp_factor * DCTSIZE;
    int x_offset = 0;
    if (can_skip()) {
        const int left = std::max(0, crop.x - mcu_width);
        const int right = std::min(static_cast<int>(cinfo_.output_width), crop.x + crop.width + mcu_width);
        if (left > 0 || right < static_cast<int>(cinfo_.output_width)) {
            auto x = static_cast<JDIMENSION>(left), width = static_cast<JDIMENSION>(right - left);
            jpeg_crop_scanline(&cinfo_, &x, &width);
            x_offset = static_cast<int>(x);
        }
        const int above = crop.y / mcu_height - 1;
        if (above > 0) jpeg_skip_scanlines(&cinfo_, static_cast<JDIMENSION>(above * mcu_height));
    }
    read_rows(crop, x_offset, rows, stride, sink);
    // The end marker is part of a sound file; reading up to it costs nothing after the last row.
    if (strict_ && cinfo_.output_scanline >= cinfo_.output_height)
        jpeg_finish_decompress(&cinfo_);
    else
        jpeg_abort_decompress(&cinfo_);
    return true;
}

void JpegLibrary::decode(ByteView bytes, const jpeg::Header& header, const Rect& crop,
                         const DecodeOptions& options, RowSink& sink) {
    strict_ = options.strict;
    scale_ = options.dct_scale;
    // A sink that threw has left the last image in the middle.
    jpeg_abort_decompress(&cinfo_);
    forget_tables();
    const std::size_t stride = (std::size_t{4} * static_cast<std::size_t>(header.width) + 127) / 64 * 64;
    std::uint8_t* rows = rows_.reserve(stride * kRowsAtOnce);
    if (!run(bytes, header, crop, rows, stride, sink)) throw DecodeError(message_);
}

}  // namespace gs
