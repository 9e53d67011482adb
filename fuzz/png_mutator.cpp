// Mutations that get past the checksums of PNG: chunk bytes with the CRC put right, filtered rows packed
// anew.
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::size_t kSignature = 8;
constexpr std::size_t kParameters = 48;

std::uint32_t big32(const std::uint8_t* p) {
    return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

void put32(std::vector<std::uint8_t>& to, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<std::uint8_t>(value >> shift));
}

struct Chunk {
    std::vector<std::uint8_t> type, data;
};

std::vector<Chunk> chunks_of(const std::uint8_t* data, std::size_t size, std::size_t& end) {
    std::vector<Chunk> chunks;
    std::size_t at = kSignature;
    while (at + 12 <= size) {
        const std::size_t length = big32(data + at);
        if (length > size - at - 12) break;
        chunks.push_back({{data + at + 4, data + at + 8}, {data + at + 8, data + at + 8 + length}});
        at += 12 + length;
        if (std::memcmp(chunks.back().type.data(), "IEND", 4) == 0) break;
    }
    end = at;
    return chunks;
}

void write(std::vector<std::uint8_t>& to, const Chunk& chunk) {
    put32(to, static_cast<std::uint32_t>(chunk.data.size()));
    to.insert(to.end(), chunk.type.begin(), chunk.type.end());
    to.insert(to.end(), chunk.data.begin(), chunk.data.end());
    put32(to, libdeflate_crc32(0, to.data() + to.size() - chunk.data.size() - 4, chunk.data.size() + 4));
}

void mutate(std::vector<std::uint8_t>& bytes) {
    const std::size_t before = bytes.size();
    bytes.resize(before + 16);
    bytes.resize(LLVMFuzzerMutate(bytes.data(), before, bytes.size()));
}

// Unpacks the image data, changes it, packs it again and deals it out over the same number of IDAT chunks.
void mutate_rows(std::vector<Chunk>& chunks) {
    std::vector<std::uint8_t> packed;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < chunks.size(); i++)
        if (std::memcmp(chunks[i].type.data(), "IDAT", 4) == 0) {
            packed.insert(packed.end(), chunks[i].data.begin(), chunks[i].data.end());
            places.push_back(i);
        }
    if (places.empty()) return;
    std::vector<std::uint8_t> rows(1 << 20);
    uLongf size = rows.size();
    if (uncompress(rows.data(), &size, packed.data(), packed.size()) != Z_OK) return;
    rows.resize(size);
    mutate(rows);
    uLongf most = compressBound(rows.size());
    packed.resize(most);
    compress2(packed.data(), &most, rows.data(), rows.size(), rows.size() % 3 == 0 ? 0 : 1);
    packed.resize(most);
    const std::size_t share = packed.size() / places.size() + 1;
    for (std::size_t k = 0; k < places.size(); k++) {
        const std::size_t from = std::min(packed.size(), k * share),
                          to = std::min(packed.size(), from + share);
        chunks[places[k]].data.assign(packed.begin() + static_cast<std::ptrdiff_t>(from),
                                      packed.begin() + static_cast<std::ptrdiff_t>(to));
    }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
    const unsigned choice = seed % 8;
    std::size_t end = 0;
    std::vector<Chunk> chunks;
    if (choice >= 2 && size > kSignature + kParameters) chunks = chunks_of(data, size - kParameters, end);
    if (chunks.empty()) return LLVMFuzzerMutate(data, size, max_size);

    std::vector<std::uint8_t> parameters(data + size - kParameters, data + size);
    if (choice == 2) LLVMFuzzerMutate(parameters.data(), parameters.size(), parameters.size());
    if (choice == 3 || choice == 4) mutate_rows(chunks);
    if (choice == 5) {
        const std::size_t i = seed / 8 % chunks.size(), j = seed / 512 % chunks.size();
        if (seed & 1U << 20)
            std::swap(chunks[i], chunks[j]);
        else
            chunks.insert(chunks.begin() + static_cast<std::ptrdiff_t>(i), chunks[j]);
    }
    if (choice >= 6) mutate(chunks[seed / 8 % chunks.size()].data);

    std::vector<std::uint8_t> out(data, data + kSignature);
    for (const Chunk& chunk : chunks) write(out, chunk);
    out.insert(out.end(), data + end, data + size - kParameters);
    out.insert(out.end(), parameters.begin(), parameters.end());
    if (out.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
    std::memcpy(data, out.data(), out.size());
    return out.size();
}
