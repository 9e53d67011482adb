// Runs a target without libFuzzer: every file of the given folders, then a fixed sequence of mutations of
// them.
//   replay MUTATIONS [FOLDER | FILE]...
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

// xorshift64*: the same sequence everywhere.
std::uint64_t random_state = 0x9E3779B97F4A7C15;
std::uint64_t next_random() {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1D;
}
std::size_t below(std::size_t n) {
    return n == 0 ? 0 : static_cast<std::size_t>(next_random() >> 33) % n;
}

void mutate(Bytes& bytes, const std::vector<Bytes>& all) {
    for (std::size_t k = 1 + below(4); k > 0 && !bytes.empty(); k--) {
        const std::size_t at = below(bytes.size()),
                          length = 1 + below(std::min<std::size_t>(64, bytes.size() - at));
        const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        switch (below(7)) {
            case 0:
                bytes[at] ^= static_cast<std::uint8_t>(1U << below(8));
                break;
            case 1:
                bytes[at] = static_cast<std::uint8_t>(next_random());
                break;
            case 2:
                bytes[at] = below(2) ? 0xFF : 0x00;
                break;
            case 3:
                bytes.erase(here, here + static_cast<std::ptrdiff_t>(length));
                break;
            case 4:
                bytes.insert(here, length, static_cast<std::uint8_t>(next_random()));
                break;
            case 5:
                bytes.resize(at);
                break;
            default: {
                const Bytes& other = all[below(all.size())];
                if (other.empty()) break;
                const std::size_t from = below(other.size());
                const std::size_t count = std::min({length, other.size() - from, bytes.size() - at});
                std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), count, here);
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    std::vector<fs::path> paths;
    for (int i = 2; i < argc; i++) {
        if (fs::is_directory(argv[i]))
            for (const auto& entry : fs::directory_iterator(argv[i])) paths.push_back(entry.path());
        else
            paths.emplace_back(argv[i]);
    }
    std::sort(paths.begin(), paths.end());
    std::vector<Bytes> inputs;
    for (const fs::path& path : paths) {
        std::ifstream file(path, std::ios::binary);
        inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    if (inputs.empty()) {
        std::fprintf(stderr, "usage: %s MUTATIONS FOLDER...\n", argv[0]);
        return 2;
    }
    const auto run = [](const Bytes& bytes) {
        const Bytes exact(bytes);  // no spare capacity that would hide an over-read
        LLVMFuzzerTestOneInput(exact.data(), exact.size());
    };
    for (const Bytes& input : inputs) run(input);
    const long mutations = std::atol(argv[1]);
    for (long i = 0; i < mutations; i++) {
        Bytes bytes = inputs[below(inputs.size())];
        mutate(bytes, inputs);
        run(bytes);
    }
    std::printf("%zu files and %ld mutations: no finding\n", inputs.size(), mutations);
    return 0;
}
