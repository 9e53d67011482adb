// JPEG through libjpeg-turbo: accurate DCT, fancy upsampling.
#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

#include <csetjmp>

#include "decode.hpp"

namespace gs {

// setjmp and destructors: libjpeg leaves its calls by longjmp when a file is damaged. No frame between setjmp
// and the libjpeg call may hold an object with a destructor; everything that has one lives in JpegState.
struct JpegState {
    jpeg_decompress_struct cinfo{};
    jpeg_error_mgr errors{};
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX] = "";
    bool strict = true;
    Buffer row;
};

namespace {

void on_error(j_common_ptr common) {
    auto* state = static_cast<JpegState*>(common->client_data);
    common->err->format_message(common, state->message);
    std::longjmp(state->jump, 1);
}

void on_message(j_common_ptr common, int level) {
    auto* state = static_cast<JpegState*>(common->client_data);
    if (level < 0 && state->strict) on_error(common);
}

bool run(JpegState& s, ByteView bytes, const Rect& crop, std::uint8_t* row, RowSink& sink) {
    if (setjmp(s.jump)) {
        jpeg_abort_decompress(&s.cinfo);
        return false;
    }
    jpeg_mem_src(&s.cinfo, bytes.data, static_cast<unsigned long>(bytes.size));
    jpeg_read_header(&s.cinfo, TRUE);
    s.cinfo.dct_method = JDCT_ISLOW;
    s.cinfo.do_fancy_upsampling = TRUE;
    s.cinfo.out_color_space = s.cinfo.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&s.cinfo);
    const int components = s.cinfo.output_components;
    while (s.cinfo.output_scanline < static_cast<JDIMENSION>(crop.y + crop.height)) {
        JSAMPROW rows[1] = {row};
        const int y = static_cast<int>(s.cinfo.output_scanline);
        jpeg_read_scanlines(&s.cinfo, rows, 1);
        if (y < crop.y) continue;
        if (components == 4) {
            for (unsigned x = 0; x < s.cinfo.output_width; x++) {
                const int k = row[4 * x + 3];
                for (int c = 0; c < 3; c++) {
                    const int t = row[4 * x + c] * k + 128;
                    row[3 * x + c] = static_cast<std::uint8_t>((t + (t >> 8)) >> 8);
                }
            }
        }
        sink.rows(y - crop.y, 1, row + 3 * crop.x, 0);
    }
    jpeg_abort_decompress(&s.cinfo);
    return true;
}

}  // namespace

std::unique_ptr<JpegState, JpegStateDeleter> make_jpeg_state() {
    std::unique_ptr<JpegState, JpegStateDeleter> s(new JpegState);
    s->cinfo.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    s->cinfo.client_data = s.get();
    jpeg_create_decompress(&s->cinfo);
    s->cinfo.client_data = s.get();
    return s;
}

void JpegStateDeleter::operator()(JpegState* state) const {
    jpeg_destroy_decompress(&state->cinfo);
    delete state;
}

void decode_jpeg(ByteView bytes, const Rect* crop, const DecodeOptions& options, Workspace& workspace,
                 RowSink& sink) {
    JpegState& s = *workspace.jpeg;
    const ImageInfo info = inspect(bytes, options.limits);
    const Rect all{0, 0, info.width, info.height};
    const Rect& part = crop ? *crop : all;
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > info.width - part.width ||
        part.y > info.height - part.height)
        throw std::out_of_range("the crop is not inside the image");
    s.strict = options.strict;
    if (!run(s, bytes, part, s.row.reserve(std::size_t{4} * static_cast<std::size_t>(info.width) + 64), sink))
        throw DecodeError(std::string("damaged JPEG: ") + s.message);
}

}  // namespace gs
