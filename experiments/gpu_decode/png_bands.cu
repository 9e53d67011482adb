// Crops of crop-ready PNGs on a GPU: one warp for a band of up to 32 rows, one lane for a row.
//
// The form (cpp/bands/png_band_table.hpp) gives each row's first bit and a Huffman code for
// the whole band, so the lanes decode side by side. A row's filter looks at the pixel above and left of that,
// so each lane stays one pixel behind the lane of the row above: what it needs of that row is what the lane
// above had a moment ago, and one shuffle a step brings it. Nothing but finished pixels of the crop goes to
// memory.
//
// Also compiled by a C++ compiler, with emulated_warp.hpp in front, to be tested without a GPU.
#include <cstdint>

constexpr int kCodeBits = 12;  // the longest code
constexpr int kEntries = 1 << kCodeBits;
constexpr int kLengths = 257;
constexpr int kWarps = 4;            // of a block: their tables take 32 KiB of shared memory
constexpr std::uint16_t kEnd = 256;  // the symbol that no row may hold

// The rows of one band of one image that a crop needs; png_plan.py has the same fields.
struct Band {
    std::uint32_t data;     // first byte, a multiple of 4; at least 16 bytes follow the last
    std::uint32_t bits;     // up to the end of the band
    std::uint32_t first;    // of its rows in the list of rows
    std::uint32_t lengths;  // first of 257 lengths of codes
    std::uint32_t image;    // where in the batch
    std::int32_t top;       // the crop's row that the band's first row is; negative above the crop
    std::uint16_t rows;     // at most 32
    std::uint16_t pixels;   // of a row, from the first that is known or decoded to the crop's right edge
    std::uint16_t lead;     // 1: the first of them is known, it stands left of a tile
    std::uint16_t skip;     // those of them left of the crop
    std::uint16_t channels;
    std::uint16_t mirrored;
};

struct Row {
    std::uint32_t filter;  // the bit where its filter's symbol begins
    std::uint32_t bit;     // where the first pixel to be decoded begins; 0: right behind the filter
    std::uint32_t left;    // the known pixel, first channel lowest
};

static_assert(sizeof(Band) == 36 && sizeof(Row) == 12);

namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

__device__ std::uint32_t reversed(std::uint32_t code, int length) {
    return __brev(code) >> (32 - length);
}

// The table of a band: for the next 12 bits the symbol and, from bit 12 on, the length of its code.
__device__ void build_table(const std::uint8_t* lengths, std::uint16_t* table, std::uint32_t* next,
                            int lane) {
    if (lane <= kCodeBits) next[lane] = 0;
    for (int i = lane; i < kEntries; i += 32) table[i] = 0xF000;  // what a damaged code leaves out
    __syncwarp();
    for (int base = 0; base < kLengths; base += 32) {
        const int length = base + lane < kLengths ? lengths[base + lane] : 0;
        const unsigned same = __match_any_sync(kAll, length);
        if (length > 0 && (same & ((1u << lane) - 1)) == 0) next[length] += __popc(same);
        __syncwarp();
    }
    if (lane == 0) {  // from counts to first codes (RFC 1951, 3.2.2)
        std::uint32_t code = 0, before = 0;
        for (int length = 1; length <= kCodeBits; length++) {
            code = (code + before) << 1;
            before = next[length];
            next[length] = code;
        }
    }
    __syncwarp();
    for (int base = 0; base < kLengths; base += 32) {
        const int symbol = base + lane, length = symbol < kLengths ? lengths[symbol] : 0;
        const unsigned same = __match_any_sync(kAll, length);
        const unsigned earlier = same & ((1u << lane) - 1);
        const std::uint32_t code = next[length] + __popc(earlier);
        __syncwarp();
        if (length > 0) {
            if (earlier == 0) next[length] += __popc(same);
            for (std::uint32_t i = reversed(code, length); i < kEntries; i += 1u << length)
                table[i] = static_cast<std::uint16_t>(symbol == kEnd ? 0xF000 : symbol | length << 12);
        }
        __syncwarp();
    }
}

// The 64 bits from `bit` on.
__device__ std::uint64_t bits_at(const std::uint32_t* words, std::uint32_t bit) {
    const std::uint32_t* at = words + (bit >> 5);
    const std::uint32_t a = __ldg(at), b = __ldg(at + 1), c = __ldg(at + 2);
    return __funnelshift_r(a, b, bit & 31) | static_cast<std::uint64_t>(__funnelshift_r(b, c, bit & 31))
                                                 << 32;
}

__device__ int paeth(int left, int up, int up_left) {
    const int by_left = abs(up - up_left), by_up = abs(left - up_left),
              by_both = abs(left + up - 2 * up_left);
    return by_left <= by_up && by_left <= by_both ? left : by_up <= by_both ? up : up_left;
}

}  // namespace

// `out`: (images, 3, height, width). `damaged`: one for each image, set where a row does not fit its band.
extern "C" __global__ void decode_bands(const Band* bands, int count, const Row* rows,
                                        const std::uint8_t* lengths, const std::uint8_t* data, int height,
                                        int width, std::uint8_t* out, std::uint32_t* damaged) {
    __shared__ std::uint16_t tables[kWarps][kEntries];
    __shared__ std::uint32_t nexts[kWarps][kCodeBits + 1];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, index = blockIdx.x * kWarps + warp;
    if (index >= count) return;
    const Band band = bands[index];
    std::uint16_t* const table = tables[warp];
    build_table(lengths + band.lengths, table, nexts[warp], lane);

    const bool here = lane < band.rows;
    const Row row = here ? rows[band.first + lane] : Row{0, 0, 0};
    const auto* words = reinterpret_cast<const std::uint32_t*>(data + band.data);
    const std::uint32_t first = table[bits_at(words, row.filter) & (kEntries - 1)];
    const std::uint32_t filter = first >= 0xF000 ? 5 : first & 0xFFF;
    // Nothing above the first row: only None and Sub are in a sound file.
    bool sound = !here || filter <= (lane == 0 ? 1 : 4);
    std::uint32_t bit = row.bit != 0 || !sound ? row.bit : row.filter + (first >> 12);
    std::uint32_t pixel = 0, above = 0;  // the last of this row; of the row above, one step ago
    const int channels = band.channels, y = band.top + lane;
    const std::size_t plane = static_cast<std::size_t>(height) * width;
    std::uint8_t* const to =
        out + 3 * plane * band.image + static_cast<std::size_t>(max(y, 0)) * static_cast<std::size_t>(width);

    for (int step = 0; step < band.pixels + band.rows - 1; step++) {
        std::uint32_t up = __shfl_up_sync(kAll, pixel, 1);
        if (lane == 0) up = 0;
        const int x = step - lane;  // among the row's pixels
        if (here && x >= 0 && x < band.pixels) {
            if (x == 0 && band.lead != 0) {
                pixel = row.left;
            } else {
                if (bit > band.bits) sound = false, bit = band.bits;
                std::uint64_t bits = bits_at(words, bit);
                std::uint32_t made = 0;
                for (int c = 0; c < channels; c++) {
                    const std::uint32_t entry = table[bits & (kEntries - 1)], length = entry >> 12;
                    if (length == 15) sound = false;
                    bits >>= length;
                    bit += length == 15 ? 0 : length;
                    const int a = pixel >> 8 * c & 255, b = up >> 8 * c & 255, d = above >> 8 * c & 255;
                    const int predicted = filter == 0   ? 0
                                          : filter == 1 ? a
                                          : filter == 2 ? b
                                          : filter == 3 ? (a + b) >> 1
                                                        : paeth(a, b, d);
                    made |= ((entry + static_cast<std::uint32_t>(predicted)) & 255) << 8 * c;
                }
                pixel = made;
            }
            const int column = x - band.lead - band.skip;
            if (column >= 0 && y >= 0) {
                const int at = band.mirrored != 0 ? width - 1 - column : column;
                to[at] = static_cast<std::uint8_t>(pixel);
                to[plane + at] = static_cast<std::uint8_t>(channels < 3 ? pixel : pixel >> 8);
                to[2 * plane + at] = static_cast<std::uint8_t>(channels < 3 ? pixel : pixel >> 16);
            }
        }
        above = up;
    }
    if (here && bit > band.bits) sound = false;
    if (!sound) damaged[band.image] = 1;
}

// -- How Python calls it
// -------------------------------------------------------------------------------------------

// Everything is memory of the device; `stream` is a cudaStream_t. Returns a cudaError_t: 0 when it is queued.
extern "C" int launch_decode_bands(const Band* bands, int count, const Row* rows, const std::uint8_t* lengths,
                                   const std::uint8_t* data, int height, int width, std::uint8_t* out,
                                   std::uint32_t* damaged, void* stream) {
    const int blocks = (count + kWarps - 1) / kWarps;
#ifdef __CUDACC__
    decode_bands<<<blocks, 32 * kWarps, 0, static_cast<cudaStream_t>(stream)>>>(
        bands, count, rows, lengths, data, height, width, out, damaged);
    return cudaGetLastError();
#else
    static_cast<void>(stream);
    emulated::run(static_cast<unsigned>(blocks), 1, 32 * kWarps,
                  [&] { decode_bands(bands, count, rows, lengths, data, height, width, out, damaged); });
    return 0;
#endif
}
