// The pixels are those of libwebp's WebPAnimDecoder, which Pillow uses: what a frame does not cover is black, and the
// first frame is not blended with anything.
#include "webp/webp.hpp"

#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace gs {
namespace {

struct DeleteDemuxer {
    void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};

struct Frame {
    Rect place;
    ByteView data;  // its chunks
};

// The chunks' structure is checked as far as libwebp's demuxer does. The frame points into `bytes`.
Frame first_frame(ByteView bytes, const WebpHeader& header) {
    const WebPData data{bytes.data, bytes.size};
    const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
    if (!demuxer) throw DecodeError("damaged WebP: libwebp finds no sound image in its chunks");
    WebPIterator at{};
    if (WebPDemuxGetFrame(demuxer.get(), 1, &at) == 0) throw DecodeError("damaged WebP: it has no frame");
    const Frame frame{{at.x_offset, at.y_offset, at.width, at.height}, {at.fragment.bytes, at.fragment.size}};
    WebPDemuxReleaseIterator(&at);
    const auto canvas = [&](WebPFormatFeature side) {
        return static_cast<int>(WebPDemuxGetI(demuxer.get(), side));
    };
    const Rect& place = frame.place;
    if (canvas(WEBP_FF_CANVAS_WIDTH) != header.width || canvas(WEBP_FF_CANVAS_HEIGHT) != header.height ||
        place.x < 0 || place.y < 0 || place.width < 1 || place.height < 1 ||
        place.width > header.width - place.x || place.height > header.height - place.y)
        throw DecodeError("damaged WebP: its frame is not inside its canvas");
    return frame;
}

// Of one axis of a frame: what has to be decoded for the pixels begin .. end - 1. libwebp takes the ends of a crop for
// those of the image when it enlarges chroma, whose samples are shared by two pixels and their neighbours.
struct Stretch {
    int begin;
    int end;
};

Stretch widened(int begin, int end, int size) {
    return {begin > 0 ? (begin - 1) / 2 * 2 : 0, std::min(end + 1, size)};
}

const char* status_text(VP8StatusCode status) {
    switch (status) {
        case VP8_STATUS_NOT_ENOUGH_DATA:
            return "truncated WebP: its image data ends too early";
        case VP8_STATUS_UNSUPPORTED_FEATURE:
            return "damaged WebP: it asks for a feature that does not exist";
        default:
            return "damaged WebP: its image data cannot be decoded";
    }
}

void check_status(VP8StatusCode status) {
    // libwebp from 1.3 on says so of damaged code tables too: it is true only where there is no memory.
    if (status == VP8_STATUS_OUT_OF_MEMORY) Buffer().reserve(std::size_t{256} << 20);
    if (status != VP8_STATUS_OK) throw DecodeError(status_text(status));
}

// Decodes columns `across` and rows `down` of a frame to memory.
void decode_frame(const Frame& frame, Stretch across, Stretch down, std::uint8_t* to, std::size_t stride) {
    WebPDecoderConfig config;
    if (WebPInitDecoderConfig(&config) == 0)
        throw DecodeError("libwebp is not the version that this was built for");
    const int width = across.end - across.begin, height = down.end - down.begin;
    if (width < frame.place.width || height < frame.place.height) {
        config.options.use_cropping = 1;
        config.options.crop_left = across.begin;
        config.options.crop_top = down.begin;
        config.options.crop_width = width;
        config.options.crop_height = height;
    }
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = to;
    config.output.u.RGBA.stride = static_cast<int>(stride);
    config.output.u.RGBA.size =
        stride * static_cast<std::size_t>(height - 1) + std::size_t{3} * static_cast<std::size_t>(width);
    check_status(WebPDecode(frame.data.data, frame.data.size, &config));
}

std::uint32_t little32(const std::uint8_t* at) {
    return static_cast<std::uint32_t>(at[0] | at[1] << 8 | at[2] << 16) | static_cast<std::uint32_t>(at[3])
                                                                              << 24;
}

}  // namespace

WebpHeader read_webp_header(ByteView bytes) {
    WebPBitstreamFeatures found{};
    if (bytes.size < 20) throw DecodeError("truncated WebP: it ends within its header");
    const VP8StatusCode status = WebPGetFeatures(bytes.data, bytes.size, &found);
    if (status == VP8_STATUS_NOT_ENOUGH_DATA) throw DecodeError("truncated WebP: it ends within its header");
    if (status != VP8_STATUS_OK || found.width < 1 || found.height < 1)
        throw DecodeError("damaged WebP: its header is not sound");
    const std::uint64_t claimed = std::uint64_t{little32(bytes.data + 4)} + 8;
    if (claimed > bytes.size)
        throw DecodeError("truncated WebP: it has " + std::to_string(bytes.size) + " bytes of " +
                          std::to_string(claimed));
    const bool is_plain = std::memcmp(bytes.data + 12, "VP8 ", 4) == 0;
    return {found.width, found.height, found.has_alpha != 0, is_plain};
}

void decode_webp(ByteView bytes, const WebpHeader& header, const Rect& part, Buffer& memory, RowSink& sink) {
    const Frame frame = first_frame(bytes, header);
    // Of the part, what the frame covers, in the frame's coordinates.
    const int left = std::max(part.x - frame.place.x, 0), top = std::max(part.y - frame.place.y, 0);
    const int right = std::min(part.x + part.width - frame.place.x, frame.place.width);
    const int bottom = std::min(part.y + part.height - frame.place.y, frame.place.height);
    if (left >= right || top >= bottom) {
        const std::size_t row = std::size_t{3} * static_cast<std::size_t>(part.width);
        std::uint8_t* black = memory.reserve(row);
        std::memset(black, 0, row);
        sink.rows(0, part.height, black, 0);
        return;
    }
    const Stretch across = widened(left, right, frame.place.width),
                  down = widened(top, bottom, frame.place.height);
    // Memory for a rectangle of the canvas that holds the part and what is decoded.
    const int x = std::min(part.x, frame.place.x + across.begin),
              y = std::min(part.y, frame.place.y + down.begin);
    const int x_end = std::max(part.x + part.width, frame.place.x + across.end);
    const int y_end = std::max(part.y + part.height, frame.place.y + down.end);
    const std::size_t stride = std::size_t{3} * static_cast<std::size_t>(x_end - x);
    const std::size_t size = stride * static_cast<std::size_t>(y_end - y);
    std::uint8_t* const pixels = memory.reserve(size);
    const auto at = [&](int column, int row) {
        return pixels + stride * static_cast<std::size_t>(row - y) +
               std::size_t{3} * static_cast<std::size_t>(column - x);
    };
    if (right - left < part.width || bottom - top < part.height) std::memset(pixels, 0, size);
    decode_frame(frame, across, down, at(frame.place.x + across.begin, frame.place.y + down.begin), stride);
    sink.rows(0, part.height, at(part.x, part.y), static_cast<std::ptrdiff_t>(stride));
}

std::string webp_version() {
    const int version = WebPGetDecoderVersion();
    return std::to_string(version >> 16) + "." + std::to_string(version >> 8 & 255) + "." +
           std::to_string(version & 255);
}

}  // namespace gs
