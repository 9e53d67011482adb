#include "recode/crop_ready_jpeg.hpp"

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "base/buffer.hpp"
#include "jpeg/jpeg_library.hpp"

namespace gs {
namespace {

constexpr const char* kStrayBytes = "bytes that belong to no segment";

// setjmp and destructors: libjpeg leaves its calls by longjmp when a file is damaged. No frame between setjmp
// and the libjpeg call may hold an object with a destructor; everything that has one lives here.
struct Recoder {
    jpeg_decompress_struct in{};
    jpeg_compress_struct out{};
    jpeg_error_mgr errors{};
    jpeg_destination_mgr to{};
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX] = "";
    Buffer buffer;
    std::size_t written = 0;
    const char* obstacle = nullptr;  // why a sound file is kept as it is

    Recoder();
    ~Recoder() {
        jpeg_destroy_compress(&out);
        jpeg_destroy_decompress(&in);
    }
};

void on_error(j_common_ptr common) {
    auto* r = static_cast<Recoder*>(common->client_data);
    common->err->format_message(common, r->message);
    // What has been read is sound; then it is the new coding that cannot hold it.
    if (!common->is_decompressor)
        r->obstacle = common->err->msg_code == JERR_BAD_DCT_COEF
                          ? "coefficients beyond the range of baseline coding"
                          : "sampling factors that one baseline scan cannot hold";
    std::longjmp(r->jump, 1);
}

void on_message(j_common_ptr common, int level) {
    if (level >= 0) return;
    auto* r = static_cast<Recoder*>(common->client_data);
    if (!is_harmless(*common->err)) on_error(common);  // a warning means damage: coefficients were lost
    if (common->err->msg_code == JWRN_EXTRANEOUS_DATA) r->obstacle = kStrayBytes;
}

void start_output(j_compress_ptr out) {
    auto* r = static_cast<Recoder*>(out->client_data);
    r->to.next_output_byte = r->buffer.data();
    r->to.free_in_buffer = r->buffer.capacity();
}

// The buffer is sized so that this is not reached by any real file; growing would need a copy.
boolean output_is_full(j_compress_ptr out) {
    auto* r = static_cast<Recoder*>(out->client_data);
    r->obstacle = "much larger when crop-ready";
    std::longjmp(r->jump, 1);
}

void finish_output(j_compress_ptr out) {
    auto* r = static_cast<Recoder*>(out->client_data);
    r->written = r->buffer.capacity() - r->to.free_in_buffer;
}

Recoder::Recoder() {
    in.err = out.err = jpeg_std_error(&errors);
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    jpeg_create_decompress(&in);
    jpeg_create_compress(&out);
    in.client_data = out.client_data = this;
    to.init_destination = start_output;
    to.empty_output_buffer = output_is_full;
    to.term_destination = finish_output;
    out.dest = &to;
}

bool all_coefficients_complete(const jpeg_decompress_struct& in) {
    if (!in.progressive_mode || in.coef_bits == nullptr) return true;
    for (int c = 0; c < in.num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (in.coef_bits[c][k] != 0) return false;
    return true;
}

bool recode(Recoder& r, ByteView bytes, int restart_interval) {
    if (setjmp(r.jump)) {
        jpeg_abort_compress(&r.out);
        jpeg_abort_decompress(&r.in);
        return false;
    }
    jpeg_mem_src(&r.in, bytes.data, static_cast<unsigned long>(bytes.size));
    jpeg_read_header(&r.in, TRUE);
    jvirt_barray_ptr* coefficients = jpeg_read_coefficients(&r.in);
    if (!all_coefficients_complete(r.in)) r.obstacle = "the progression stops before the last bits";
    if (r.obstacle == nullptr) {
        jpeg_copy_critical_parameters(&r.in, &r.out);
        r.out.optimize_coding = TRUE;
        r.out.restart_interval = static_cast<unsigned>(restart_interval);
        jpeg_write_coefficients(&r.out, coefficients);
        jpeg_finish_compress(&r.out);
    }
    jpeg_abort_decompress(&r.in);
    return true;
}

// Segments whose meaning depends on where bytes of the file are.
bool depends_on_positions(ByteView bytes, const jpeg::Segment& s) {
    return (s.code == 0xE2 && s.starts_with(bytes, "MPF\0", 4, 4)) ||
           (s.code == 0xEB && s.starts_with(bytes, "JP", 2, 2));
}

bool is_of_the_coding(const jpeg::Segment& s) {
    return s.code == 0xC4 || s.code == 0xDD || s.code == 0xDA;
}

// Collects the segments that stay, and finds the end of the image: those of the header, and APPn and COM
// between scans. Returns the reason why the file is kept as it is, or nullptr.
const char* sort_segments(ByteView bytes, const jpeg::Header& header, JpegRecoding& plan) {
    jpeg::Markers markers(bytes);
    for (jpeg::Segment s; markers.next(s);) {
        const bool in_header = s.end < header.entropy_begin;
        if (s.code == 0xD9) {
            plan.end_of_image = s.end;
            const auto positioned = [bytes](const jpeg::Segment& kept) {
                return depends_on_positions(bytes, kept);
            };
            const bool any = std::any_of(plan.segments.begin(), plan.segments.end(), positioned);
            return any ? "metadata that depends on the positions of bytes" : nullptr;
        }
        // A second image or frame: the decoder says what is wrong.
        if (!in_header && (s.code == 0xD8 || s.is_frame()))
            throw DecodeError("damaged JPEG: misplaced marker");
        if (!in_header && s.code == 0xDB) return "tables change between scans";
        if (s.is_bare() || is_of_the_coding(s) || !(in_header || s.is_metadata())) continue;
        plan.segments.push_back(s);
    }
    throw DecodeError("truncated JPEG: no end marker");
}

void put(std::vector<std::uint8_t>& out, const std::uint8_t* from, std::size_t size) {
    out.insert(out.end(), from, from + size);
}

// What is new in the file: from the Huffman tables to the end marker.
struct Coding {
    int frame = 0xC0;
    std::vector<std::uint8_t> bytes;
};

// The new file: the old one's segments in their order, then the new coding.
void assemble(ByteView old, const JpegRecoding& plan, const Coding& coding, std::vector<std::uint8_t>& out) {
    out.reserve(coding.bytes.size() + plan.header_bytes + (old.size - plan.end_of_image));
    put(out, old.data, 2);
    for (const jpeg::Segment& s : plan.segments) {
        const std::size_t at = out.size();
        put(out, old.data + s.begin, s.end - s.begin);
        if (s.is_frame()) out[at + 1] = static_cast<std::uint8_t>(coding.frame);
    }
    put(out, coding.bytes.data(), coding.bytes.size());
    put(out, old.data + plan.end_of_image, old.size - plan.end_of_image);
}

// Returns the reason why not, or nullptr.
const char* code_by_library(ByteView bytes, int interval, Coding& coding) {
    // A new one for every file: libjpeg keeps tables from one file to the next, and would decode a file that
    // lacks them with those of its predecessor.
    Recoder r;
    // Sequential code of the coefficients of a progressive file, or of one with poor tables: optimised tables
    // and restart markers never cost twice the file, except for tiny ones.
    r.buffer.reserve(2 * bytes.size + 65536);
    const bool done = recode(r, bytes, interval);
    if (r.obstacle != nullptr) return r.obstacle;
    if (!done) throw DecodeError(std::string("damaged JPEG: ") + r.message);
    const ByteView coded{r.buffer.data(), r.written};
    const jpeg::Header fresh = jpeg::read_header(coded);
    coding.frame = fresh.frame;
    jpeg::Markers markers(coded);
    for (jpeg::Segment s; s.code != 0xDA && markers.next(s);)
        if (is_of_the_coding(s)) put(coding.bytes, coded.data + s.begin, s.end - s.begin);
    put(coding.bytes, coded.data + fresh.entropy_begin, coded.size - fresh.entropy_begin);
    return nullptr;
}

}  // namespace

int restart_interval_for(int mcus_per_row, int mcu_width, int interval_width) {
    if (interval_width == 0) return 0;
    const double wanted = static_cast<double>(interval_width) / mcu_width;
    const auto distance = [wanted](int n) { return n > wanted ? n / wanted : wanted / n; };
    int best = mcus_per_row;
    for (int n = 1; n <= mcus_per_row; n++)
        if (mcus_per_row % n == 0 && distance(n) < distance(best)) best = n;
    return best;
}

const char* plan_crop_ready_jpeg(ByteView bytes, const jpeg::Header& header, int interval_width,
                                 JpegRecoding& plan) {
    plan = JpegRecoding{};
    if (header.contradiction != nullptr) throw DecodeError(header.contradiction);
    if (header.frame > 0xC2) return "arithmetic, lossless or hierarchical coding";
    if (header.precision != 8) return "more than 8 bits per sample";
    if (header.has_gaps) return kStrayBytes;
    plan.interval = restart_interval_for(header.mcus_per_row(), header.mcu_width(), interval_width);
    plan.header_bytes = header.entropy_begin;
    if (header.rows_are_whole_intervals() && header.restart_interval == plan.interval)
        return "already crop-ready";
    return sort_segments(bytes, header, plan);
}

const char* write_crop_ready_jpeg(ByteView bytes, const JpegRecoding& plan, const jpeg::OwnDecoder* decoded,
                                  jpeg::ScanEncoder& encoder, std::vector<std::uint8_t>& out) {
    out.clear();
    Coding coding;
    const bool own = decoded != nullptr &&
                     encoder.encode(decoded->header(), decoded->planes(), plan.interval, coding.bytes);
    if (!own) {
        const char* reason = code_by_library(bytes, plan.interval, coding);
        if (reason != nullptr) return reason;
    }
    assemble(bytes, plan, coding, out);
    return nullptr;
}

}  // namespace gs
