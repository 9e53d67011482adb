#include "pack/pack_samples.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "image/decode.hpp"
#include "pack/sha256.hpp"
#include "pack/tar_sample.hpp"

namespace gs::pack {
namespace {

class NoSink : public RowSink {
  public:
    void rows(int, int, const std::uint8_t*, std::ptrdiff_t) noexcept override {}
};

// Opening a pipe would wait for somebody to write to it; reading one at an offset fails.
constexpr int kReadOnly = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

// Reads a whole file that ought to have `size` bytes; `to` has room for one more. False: it cannot be read or
// has another size.
bool read_file(const std::string& path, std::uint8_t* to, std::size_t size, int& cold) {
    const int fd = open(path.c_str(), kReadOnly);
    if (fd < 0) return false;
    iovec part{to, size + 1};  // a byte more shows a file that grew
    ssize_t got = preadv2(fd, &part, 1, 0, RWF_NOWAIT);
    std::size_t done = got > 0 ? static_cast<std::size_t>(got) : 0;
    if (done < size) cold++;
    // Without waiting, a read may also stop at the border of a page that is not there.
    bool more = done < size || (done == size && size % 4096 == 0);
    while (more) {
        got = pread(fd, to + done, size + 1 - done, static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got > 0) done += static_cast<std::size_t>(got);
        more = got > 0 && done <= size;
    }
    close(fd);
    return got >= 0 && done == size;
}

// Checks one image. Throws DecodeError.
ImageInfo examine(ByteView bytes, const Packing& how) {
    const ImageInfo info = inspect(bytes, how.limits);
    if (how.full) {
        thread_local Workspace workspace;
        NoSink sink;
        DecodeOptions options;
        options.limits = how.limits;
        struct Settled {
            const ImageInfo& info;
            std::size_t size;
            ~Settled() { workspace.settle(std::int64_t{info.width} * info.height, size); }
        } settled{info, bytes.size};
        decode(bytes, info, nullptr, options, workspace, sink);
    }
    return info;
}

bool is_own_format(ByteView bytes) {
    const Format format = sniff(bytes);
    return format == Format::jpeg || format == Format::png || format == Format::unknown;
}

struct Waiting {
    std::size_t sample;  // its number
    std::size_t out;
};

// Digests of the samples that wait for theirs, and what could not be written before: the .json.
void finish(const std::vector<Waiting>& waiting, const std::vector<SampleIn>& samples,
            std::vector<SampleOut>& outs, std::uint8_t* buffer) {
    std::vector<Message> messages;
    for (const Waiting& w : waiting)
        messages.push_back({{buffer + outs[w.out].offset, samples[w.sample].size}, outs[w.out].digest});
    sha256(messages.data(), messages.size());
    for (const Waiting& w : waiting) {
        const SampleIn& sample = samples[w.sample];
        const SampleOut& out = outs[w.out];
        const std::string facts = facts_json(sample.head, out.info, sample.size, out.digest);
        std::uint8_t* at = buffer + out.offset + padded(sample.size) + kClsBytes;
        write_header(at, sample.key + ".json", facts.size());
        std::memcpy(at + kTarBlock, facts.data(), facts.size());
        std::memset(at + kTarBlock + facts.size(), 0, padded(facts.size()) - facts.size());
    }
}

}  // namespace

std::size_t room_for(const SampleIn& sample) {
    return padded(sample.size) + 7 * kTarBlock + padded(sample.head.size());
}

std::vector<SampleOut> pack_samples(const std::vector<SampleIn>& samples, const Packing& how,
                                    std::uint8_t* buffer, std::size_t capacity, std::size_t& used,
                                    int& cold) {
    std::vector<SampleOut> outs;
    outs.reserve(samples.size());
    std::vector<Waiting> waiting;
    const std::uint8_t no_digest[32] = {};
    for (std::size_t number = 0; number < samples.size(); number++) {
        const SampleIn& sample = samples[number];
        if (used > capacity || capacity - used < room_for(sample)) break;
        if (sample.key.size() + 5 > kLongestName) throw std::invalid_argument("key too long: " + sample.key);
        std::uint8_t* image = buffer + used + kTarBlock;
        bool whole = true;
        if (sample.bytes) {
            whole = sample.bytes->size == sample.size;
            if (whole && sample.size != 0) std::memcpy(image, sample.bytes->data, sample.size);
        } else {
            whole = read_file(sample.path, image, sample.size, cold);
        }
        outs.emplace_back();
        SampleOut& out = outs.back();
        const ByteView bytes{image, sample.size};
        if (!whole || !is_own_format(bytes)) break;
        try {
            out.info = examine(bytes, how);
        } catch (const DecodeError& error) {
            out.outcome = Outcome::quarantined;
            out.reason = error.what();
            continue;
        }
        out.outcome = Outcome::packed;
        out.offset = used + kTarBlock;
        write_header(buffer + used, sample.key + "." + suffix_of(out.info.format), sample.size);
        std::uint8_t* at = image + sample.size;
        std::memset(at, 0, padded(sample.size) - sample.size);
        at = image + padded(sample.size);
        write_header(at, sample.key + ".cls", 1);
        std::memset(at + kTarBlock, 0, kTarBlock);
        at[kTarBlock] = sample.fake ? '1' : '0';
        out.facts_size = facts_json(sample.head, out.info, sample.size, no_digest).size();
        used = out.offset + padded(sample.size) + kClsBytes + kTarBlock + padded(out.facts_size);
        waiting.push_back({number, outs.size() - 1});
    }
    finish(waiting, samples, outs, buffer);
    return outs;
}

void read_soon(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
        const int fd = open(path.c_str(), kReadOnly);
        if (fd < 0) continue;
        posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
        close(fd);
    }
}

}  // namespace gs::pack
