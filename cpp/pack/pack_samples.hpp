// Many images into the bytes of a tar in one go: read, checked, hashed while they are in the cache, and laid
// out with their headers, .cls and .json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "image/inspect.hpp"

namespace gs::pack {

struct SampleIn {
    std::string path;  // of the file to read, when `bytes` holds nothing
    std::optional<ByteView> bytes;
    std::size_t size = 0;  // of the file, as it was listed
    std::string key;       // at most 95 bytes, so that no member's name has more than 100
    bool fake = false;
    std::string head;  // begin of its .json
};

enum class Outcome {
    packed,
    quarantined,  // not sound; `reason` says why
    left,         // could not be read as listed, or is of a format that the core does not decode
};

struct SampleOut {
    Outcome outcome = Outcome::left;
    ImageInfo info;
    std::size_t offset = 0;  // of the image within the buffer
    std::size_t facts_size = 0;
    std::uint8_t digest[32] = {};
    std::string reason;
};

struct Packing {
    bool full = true;  // decode every pixel, instead of the header alone
    Limits limits;
};

// Bytes that a sample may take at most.
std::size_t room_for(const SampleIn& sample);

// Appends samples to `buffer`, in order, from `used` on, until one is left or does not fit. Returns what
// became of them; `used` moves on. What is left is the caller's to add. `cold` counts files that were not in
// memory as a whole.
std::vector<SampleOut> pack_samples(const std::vector<SampleIn>& samples, const Packing& how,
                                    std::uint8_t* buffer, std::size_t capacity, std::size_t& used, int& cold);

// Asks the kernel to read files into memory, without waiting for it. What cannot be opened is passed over.
void read_soon(const std::vector<std::string>& paths);

}  // namespace gs::pack
