// Crops of JPEGs with short restart intervals (the crop-ready form, cut by gs.crop_jpeg) on a GPU, with the
// pixels of libjpeg-turbo, bit for bit.
//
// Three kernels: one lane for a restart interval (ITU-T T.81, F.2.2), whose coefficients go to memory; eight
// lanes for the inverse DCT of a block; one for a pixel of the crop, which upsamples its chroma and converts
// it. The arithmetic is that of the plain forms in cpp/jpeg (jpeg_idct.cpp,
// jpeg_kernels_plain.cpp), where its sources are named. Whatever is in doubt there is in doubt here: the
// image is marked, and the CPU has to decode it.
//
// Also compiled by a C++ compiler, with emulated_warp.hpp in front, to be tested without a GPU.
#include <cstdint>
#include <cstring>

constexpr int kLutBits = 10;  // codes longer than this are searched
constexpr int kWarps = 4;     // of a block of threads

// jpeg_plan.py has the same fields.
struct Tables {
    std::uint8_t quant[3][64];   // by component, rows of the block
    std::uint8_t counts[4][16];  // codes of each length: DC 0, DC 1, AC 0, AC 1
    std::uint8_t symbols[4][256];
};

struct Picture {
    std::uint32_t image;       // where in the batch
    std::uint32_t blocks;      // its first one in the list of coefficients, in blocks
    std::uint32_t samples[3];  // first byte of each component's plane
    std::uint16_t mcus_per_row, mcu_rows;
    std::uint16_t width, height;  // of the JPEG
    std::uint16_t x, y;           // the crop's left upper corner in it
    std::uint8_t components, h, v;
    std::uint8_t mirrored;
    std::uint8_t tables[3];  // of each component: bit 0 its DC table, bit 1 its AC table
    std::uint8_t unused;
};

struct Interval {
    std::uint32_t picture;
    std::uint32_t data;  // first byte, a multiple of 4, without stuffing; at least 8 bytes follow the last
    std::uint32_t bits;
    std::uint32_t first;  // of its MCUs in the picture
    std::uint32_t mcus;   // 0: nothing to do, the warp is filled up
};

static_assert(sizeof(Tables) == 1280 && sizeof(Picture) == 40 && sizeof(Interval) == 20);

namespace {

__constant__ const std::uint8_t kNaturalOrder[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

struct Huffman {
    std::uint16_t lut[1 << kLutBits];  // length of the code * 256 + symbol; 0: a longer one, or none
    std::uint32_t limit[17];           // codes of each length, shifted up to 16 bits, end below it
    std::int32_t base[17];             // from a code to its place among the symbols
};

__device__ int find(const Huffman& table, const std::uint8_t* symbols, std::uint32_t top16, int most,
                    int& length) {
    for (length = 1; length <= most; length++)
        if (top16 < table.limit[length])
            return symbols[table.base[length] + static_cast<int>(top16 >> (16 - length))];
    return -1;
}

// All lanes of a warp, for the four tables of a picture.
__device__ void build(Huffman* tables, const Tables& from, int lane) {
    if (lane < 4) {
        std::uint32_t code = 0;
        int index = 0;
        for (int length = 1; length <= 16; length++) {
            code <<= 1;
            tables[lane].base[length] = index - static_cast<int>(code);
            code += from.counts[lane][length - 1];
            index += from.counts[lane][length - 1];
            tables[lane].limit[length] = code << (16 - length);
        }
    }
    __syncwarp();
    for (int i = lane; i < 4 << kLutBits; i += 32) {
        const int t = i >> kLutBits, bits = i & ((1 << kLutBits) - 1);
        int length;
        const int symbol = find(tables[t], from.symbols[t],
                                static_cast<std::uint32_t>(bits) << (16 - kLutBits), kLutBits, length);
        tables[t].lut[bits] = static_cast<std::uint16_t>(symbol < 0 ? 0 : length << 8 | symbol);
    }
    __syncwarp();
}

// The 32 bits from `bit` on, the first one on top.
__device__ std::uint32_t bits_at(const std::uint32_t* words, std::uint32_t bit) {
    const std::uint32_t a = __byte_perm(__ldg(words + (bit >> 5)), 0, 0x0123);
    const std::uint32_t b = __byte_perm(__ldg(words + (bit >> 5) + 1), 0, 0x0123);
    return __funnelshift_l(b, a, bit & 31);
}

// The value of `size` bits (F.2.2.1, EXTEND); 0 for none.
__device__ int extended(std::uint32_t bits, int size) {
    if (size == 0) return 0;
    const int value = static_cast<int>(bits >> (32 - size));
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

// Sums are of unsigned values: they wrap as libjpeg-turbo's vector code does.
__device__ int wrap16(int v) {
    return static_cast<std::int16_t>(static_cast<std::uint32_t>(v));
}
__device__ int clamped(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}
__device__ std::uint32_t dot(int x, int cx, int y, int cy) {
    return static_cast<std::uint32_t>(x * cx) + static_cast<std::uint32_t>(y * cy);
}

// One pass of the inverse DCT over eight values; `shift` is its descaling.
__device__ void pass(int* v, int shift) {
    const std::uint32_t round = 1u << (shift - 1);
    const std::uint32_t even0 = (static_cast<std::uint32_t>(wrap16(v[0] + v[4])) << 13) + round;
    const std::uint32_t even1 = (static_cast<std::uint32_t>(wrap16(v[0] - v[4])) << 13) + round;
    const std::uint32_t even2 = dot(v[2], 4433, v[6], 4433 - 15137);
    const std::uint32_t even3 = dot(v[2], 4433 + 6270, v[6], 4433);
    const std::uint32_t t10 = even0 + even3, t13 = even0 - even3, t11 = even1 + even2, t12 = even1 - even2;
    const int z3 = wrap16(v[7] + v[3]), z4 = wrap16(v[5] + v[1]);
    const std::uint32_t s3 = dot(z3, 9633 - 16069, z4, 9633), s4 = dot(z3, 9633, z4, 9633 - 3196);
    const std::uint32_t odd0 = dot(v[7], 2446 - 7373, v[1], -7373) + s3;
    const std::uint32_t odd1 = dot(v[5], 16819 - 20995, v[3], -20995) + s4;
    const std::uint32_t odd2 = dot(v[5], -20995, v[3], 25172 - 20995) + s3;
    const std::uint32_t odd3 = dot(v[7], -7373, v[1], 12299 - 7373) + s4;
    const std::uint32_t sums[8] = {t10 + odd3, t11 + odd2, t12 + odd1, t13 + odd0,
                                   t13 - odd0, t12 - odd1, t11 - odd2, t10 - odd3};
    for (int i = 0; i < 8; i++) v[i] = clamped(static_cast<int>(sums[i]) >> shift, -32768, 32767);
}

__device__ int blocks_per_mcu(const Picture& picture) {
    return picture.components == 1 ? 1 : picture.h * picture.v + 2;
}

}  // namespace

extern "C" __global__ void read_intervals(const Interval* intervals, int count, const Picture* pictures,
                                          const Tables* tables, const std::uint8_t* data,
                                          std::int16_t* coefficients, std::uint32_t* damaged) {
    __shared__ Huffman codes[kWarps][4];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32,
              index = blockIdx.x * 32 * kWarps + threadIdx.x;
    if (index - lane >= count) return;  // the whole warp: their number is a multiple of 32
    const Interval interval = intervals[index];
    const Picture& picture = pictures[interval.picture];  // the same in all lanes
    const Tables& from = tables[interval.picture];
    build(codes[warp], from, lane);

    const auto* words = reinterpret_cast<const std::uint32_t*>(data + interval.data);
    const int in_mcu = blocks_per_mcu(picture), luma = in_mcu == 1 ? 1 : in_mcu - 2;
    std::int16_t* block =
        coefficients + 64 * (static_cast<std::size_t>(picture.blocks) + interval.first * in_mcu);
    int predictor[3] = {0, 0, 0};
    std::uint32_t bit = 0;
    bool sound = true;
    int k = 0, b = 0;
    // One symbol a turn, so that lanes whose blocks have other lengths stay together.
    for (std::uint32_t left = interval.mcus * in_mcu; left > 0 && sound;) {
        const int component = b < luma ? 0 : b - luma + 1;
        const int pair = component == 0   ? picture.tables[0]
                         : component == 1 ? picture.tables[1]
                                          : picture.tables[2];
        const int t = k == 0 ? pair & 1 : 2 + (pair >> 1);
        const Huffman& table = codes[warp][t];
        const std::uint32_t bits = bits_at(words, bit);
        int length = table.lut[bits >> (32 - kLutBits)] >> 8,
            symbol = table.lut[bits >> (32 - kLutBits)] & 255;
        if (length == 0) symbol = find(table, from.symbols[t], bits >> 16, 16, length);
        if (symbol < 0) {
            sound = false;
            break;
        }
        const int size = k == 0 ? symbol : symbol & 15, run = symbol >> 4;
        if (size > (k == 0 ? 11 : 10)) {
            sound = false;
            break;
        }
        const int value = extended(bits << length, size);
        bit += length + size;
        if (bit > interval.bits) sound = false;
        if (k == 0) {
            const int sum = (component == 0   ? predictor[0]
                             : component == 1 ? predictor[1]
                                              : predictor[2]) +
                            value;
            if (component == 0) predictor[0] = sum;
            if (component == 1) predictor[1] = sum;
            if (component == 2) predictor[2] = sum;
            if (static_cast<std::int16_t>(sum) != sum) sound = false;
            block[0] = static_cast<std::int16_t>(sum);
            k = 1;
        } else if (size != 0) {
            k += run;
            if (k > 63)
                sound = false;
            else
                block[kNaturalOrder[k]] = static_cast<std::int16_t>(value);
            k++;
        } else if (run == 15) {
            k += 16;
            if (k > 64) sound = false;
        } else {
            k = 64;
        }
        if (k >= 64) {
            k = 0;
            block += 64;
            left--;
            b = b + 1 == in_mcu ? 0 : b + 1;
        }
    }
    // Nothing but the filling of the last byte may be left over.
    if (interval.mcus > 0 && (!sound || bit > interval.bits || bit + 8 <= interval.bits))
        damaged[picture.image] = 1;
}

// blockIdx.y is the picture.
extern "C" __global__ void transform_blocks(const Picture* pictures, const Tables* tables,
                                            const std::int16_t* coefficients, std::uint8_t* samples,
                                            std::uint32_t* damaged) {
    __shared__ int turned[kWarps][4][8][9];  // a column more, so that lanes do not wait for one another
    const Picture& picture = pictures[blockIdx.y];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = lane % 8;
    const int in_mcu = blocks_per_mcu(picture), luma = in_mcu == 1 ? 1 : in_mcu - 2;
    const int mcus = picture.mcus_per_row * picture.mcu_rows;
    const int index = (blockIdx.x * kWarps + warp) * 4 + lane / 8;
    const bool here = index < mcus * in_mcu;
    const int mcu = index / in_mcu, b = index % in_mcu, component = b < luma ? 0 : b - luma + 1;
    int(*const square)[9] = turned[warp][lane / 8];

    int v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (here) {
        const std::int16_t* block = coefficients + 64 * (static_cast<std::size_t>(picture.blocks) + index);
        const std::uint8_t* quant = tables[blockIdx.y].quant[component];
        for (int i = 0; i < 8; i++) v[i] = wrap16(block[8 * i + column] * quant[8 * i + column]);
        // The one case that libjpeg-turbo computes by another path (jpeg_idct.hpp).
        if (v[0] >= 8192 || v[0] <= -8192) damaged[picture.image] = 1;
    }
    pass(v, 11);
    for (int i = 0; i < 8; i++) square[i][column] = v[i];
    __syncwarp();
    for (int i = 0; i < 8; i++) v[i] = square[column][i];
    pass(v, 18);
    if (!here) return;
    const int h = component == 0 && in_mcu > 1 ? picture.h : 1,
              high = component == 0 && in_mcu > 1 ? picture.v : 1;
    const int stride = picture.mcus_per_row * 8 * h;
    const int x = (mcu % picture.mcus_per_row * h + (component == 0 ? b % h : 0)) * 8;
    const int y = (mcu / picture.mcus_per_row * high + (component == 0 ? b / h : 0)) * 8 + column;
    const std::uint32_t plane = component == 0   ? picture.samples[0]
                                : component == 1 ? picture.samples[1]
                                                 : picture.samples[2];
    std::uint8_t* to = samples + plane + static_cast<std::size_t>(y) * stride + x;
    for (int i = 0; i < 8; i++) to[i] = static_cast<std::uint8_t>(clamped(v[i], -128, 127) + 128);
}

namespace {

struct Plane {
    const std::uint8_t* at;
    int stride, width, height;

    __device__ int get(int x, int y) const {
        return at[static_cast<std::size_t>(clamped(y, 0, height - 1)) * stride + clamped(x, 0, width - 1)];
    }
};

// A chroma sample at full resolution, by libjpeg's triangle filters (jdsample.c).
__device__ int upsampled(const Plane& plane, int x, int y, int h, int v) {
    const int cx = x / h, cy = y / v;
    const int to_side = h == 2 ? (x % 2 ? 1 : -1) : 0, to_row = v == 2 ? (y % 2 ? 1 : -1) : 0;
    if (h == 1 && v == 1) return plane.get(x, y);
    if (v == 1) return (3 * plane.get(cx, cy) + plane.get(cx + to_side, cy) + (x % 2 ? 2 : 1)) >> 2;
    if (h == 1) return (3 * plane.get(cx, cy) + plane.get(cx, cy + to_row) + (y % 2 ? 2 : 1)) >> 2;
    const int here = 3 * plane.get(cx, cy) + plane.get(cx, cy + to_row);
    const int side = 3 * plane.get(cx + to_side, cy) + plane.get(cx + to_side, cy + to_row);
    return (3 * here + side + (x % 2 ? 7 : 8)) >> 4;
}

}  // namespace

// `out`: (images, 3, height, width). blockIdx.y is the picture.
extern "C" __global__ void finish_pixels(const Picture* pictures, const std::uint8_t* samples, int height,
                                         int width, std::uint8_t* out) {
    const Picture& picture = pictures[blockIdx.y];
    const int pixel = blockIdx.x * 32 * kWarps + threadIdx.x;
    if (pixel >= height * width) return;
    const int row = pixel / width, column = pixel % width;
    const int x = picture.x + (picture.mirrored ? width - 1 - column : column), y = picture.y + row;
    const bool gray = picture.components == 1;
    const int h = gray ? 1 : picture.h, v = gray ? 1 : picture.v;
    const int luma =
        samples[picture.samples[0] + static_cast<std::size_t>(y) * (picture.mcus_per_row * 8 * h) + x];
    int red = luma, green = luma, blue = luma;
    if (!gray) {
        const int stride = picture.mcus_per_row * 8;
        const int wide = (picture.width + h - 1) / h, high = (picture.height + v - 1) / v;
        const int b = upsampled({samples + picture.samples[1], stride, wide, high}, x, y, h, v) - 128;
        const int r = upsampled({samples + picture.samples[2], stride, wide, high}, x, y, h, v) - 128;
        // libjpeg's fixed-point conversion (jdcolor.c).
        red = clamped(luma + ((91881 * r + 32768) >> 16), 0, 255);
        green = clamped(luma + ((-22554 * b - 46802 * r + 32768) >> 16), 0, 255);
        blue = clamped(luma + ((116130 * b + 32768) >> 16), 0, 255);
    }
    const std::size_t plane = static_cast<std::size_t>(height) * width;
    std::uint8_t* const to = out + 3 * plane * picture.image + pixel;
    to[0] = static_cast<std::uint8_t>(red);
    to[plane] = static_cast<std::uint8_t>(green);
    to[2 * plane] = static_cast<std::uint8_t>(blue);
}

// -- How Python calls it
// ----------------------------------------------------------------------------------------------

// Everything is memory of the device; `stream` is a cudaStream_t. `coefficients` has room for all blocks of
// all pictures, `samples` for all planes; `most_blocks`, of one picture. Returns a cudaError_t: 0 when all is
// queued.
extern "C" int launch_decode_intervals(const Interval* intervals, int count, const Picture* pictures,
                                       int images, const Tables* tables, const std::uint8_t* data,
                                       int most_blocks, std::int16_t* coefficients,
                                       std::size_t coefficient_bytes, std::uint8_t* samples, int height,
                                       int width, std::uint8_t* out, std::uint32_t* damaged, void* stream) {
    const unsigned threads = 32 * kWarps, pictures_ = static_cast<unsigned>(images);
    const auto parts = [](int all, int of) { return static_cast<unsigned>((all + of - 1) / of); };
    const unsigned a = parts(count, 32 * kWarps), b = parts(most_blocks, 4 * kWarps),
                   c = parts(height * width, 32 * kWarps);
#ifdef __CUDACC__
    const auto on = static_cast<cudaStream_t>(stream);
    if (const cudaError_t error = cudaMemsetAsync(coefficients, 0, coefficient_bytes, on)) return error;
    read_intervals<<<a, threads, 0, on>>>(intervals, count, pictures, tables, data, coefficients, damaged);
    transform_blocks<<<dim3(b, pictures_), threads, 0, on>>>(pictures, tables, coefficients, samples,
                                                             damaged);
    finish_pixels<<<dim3(c, pictures_), threads, 0, on>>>(pictures, samples, height, width, out);
    return cudaGetLastError();
#else
    static_cast<void>(stream);
    std::memset(coefficients, 0, coefficient_bytes);
    emulated::run(a, 1, threads,
                  [&] { read_intervals(intervals, count, pictures, tables, data, coefficients, damaged); });
    emulated::run(b, pictures_, threads,
                  [&] { transform_blocks(pictures, tables, coefficients, samples, damaged); });
    emulated::run(c, pictures_, threads, [&] { finish_pixels(pictures, samples, height, width, out); });
    return 0;
#endif
}
