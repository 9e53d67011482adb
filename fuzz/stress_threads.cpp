// The parts of the core that share memory between threads, for ThreadSanitizer: a pool with jobs that are waited for,
// cancelled or dropped, files that are opened and closed behind each other's backs, and decoders and recoders on threads
// of their own.
//   stress_threads SECONDS FOLDER...        images (of any kind, sound or not) are the files of the folders
// A data race is reported by the sanitizer, which then makes the exit code 66.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <thread>

#include "base/row_sinks.hpp"
#include "batch/batch.hpp"
#include "image/decode.hpp"
#include "recode/recode.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr int kSide = 40;  // of the window, pixels

// What all threads work on. Python's interpreter lock keeps its threads apart in the same places.
struct Shared {
    std::vector<Bytes> images;
    std::shared_ptr<gs::FileSet> files;
    std::vector<gs::FileSource::Range> ranges;
    std::mutex interpreter;
    std::unique_ptr<gs::Pool> pool;
    std::vector<std::shared_ptr<gs::Batch>> others;  // jobs that another thread may wait for or cancel
    std::atomic<long> jobs{0};
    Clock::time_point end;
};

class Foreign : public gs::ForeignDecoder {
  public:
    gs::Size decode(gs::ByteView, const gs::DecodeOptions&, gs::Buffer&, gs::MemoryLease&) override {
        throw gs::DecodeError("not decoded here");
    }
};

struct Job {
    std::vector<std::uint8_t> out;
    std::shared_ptr<gs::Batch> batch;
};

Job make_job(Shared& shared, std::mt19937& random) {
    const int n = 1 + static_cast<int>(random() % 24);
    gs::BatchPlan plan;
    plan.window = {kSide, kSide};
    plan.crops.assign(static_cast<std::size_t>(n), {0, 0});
    plan.options.limits = {1 << 18, 1 << 20, 1 << 26};
    if (random() % 2 != 0)
        plan.divert.assign(static_cast<std::size_t>(n), static_cast<std::uint8_t>(random() % 3));
    Job job;
    job.out.resize(plan.image_bytes() * static_cast<std::size_t>(n));
    plan.out = job.out.data();
    std::unique_ptr<gs::Source> source;
    if (random() % 2 != 0) {
        std::vector<gs::FileSource::Range> ranges;
        for (int i = 0; i < n; i++) ranges.push_back(shared.ranges[random() % shared.ranges.size()]);
        source = std::make_unique<gs::FileSource>(shared.files, std::move(ranges));
    } else {
        std::vector<gs::ByteView> views;
        for (int i = 0; i < n; i++) {
            const Bytes& image = shared.images[random() % shared.images.size()];
            views.push_back({image.data(), image.size()});
        }
        source = std::make_unique<gs::MemorySource>(std::move(views));
    }
    job.batch = std::make_shared<gs::Batch>(std::move(plan), std::move(source), std::make_shared<Foreign>());
    return job;
}

// A user's thread: submits jobs and waits for them, cancels some, looks after those of other threads.
void use_pool(Shared& shared, unsigned seed) {
    std::mt19937 random(seed);
    while (Clock::now() < shared.end) {
        Job job = make_job(shared, random);
        std::shared_ptr<gs::Batch> other;
        std::unique_ptr<gs::Pool> old;
        {
            const std::lock_guard<std::mutex> lock(shared.interpreter);
            if (random() % 50 == 0) {  // the pool is closed with jobs under way
                old = std::move(shared.pool);
                shared.pool = std::make_unique<gs::Pool>(3);
            }
            shared.pool->submit(job.batch);
            other = shared.others[seed % shared.others.size()];
            shared.others[random() % shared.others.size()] = job.batch;
        }
        old.reset();
        if (other != nullptr && random() % 8 == 0) other->cancel();
        if (other != nullptr && random() % 2 == 0) other->wait(std::chrono::milliseconds(1));
        if (random() % 4 == 0) job.batch->cancel();
        while (!job.batch->wait(std::chrono::milliseconds(20))) job.batch->failures(false);
        job.batch->failures(true);
        for (const gs::Diverted& diverted : job.batch->diverted()) (void)diverted.bytes.size();
        (void)(job.batch->bytes_read() + static_cast<std::int64_t>(job.batch->decode_seconds()));
        shared.files->open_now();
        job.out[0]++;  // the output is this thread's again
        shared.jobs++;
    }
}

// A packer's thread: checks and recodes images with what it keeps for itself.
void recode(Shared& shared, unsigned seed) {
    std::mt19937 random(seed);
    gs::Recoder recoder;
    gs::Workspace workspace;
    gs::NoRows nowhere;
    while (Clock::now() < shared.end) {
        const Bytes& image = shared.images[random() % shared.images.size()];
        const gs::ByteView bytes{image.data(), image.size()};
        gs::DecodeOptions options;
        options.limits = {1 << 18, 1 << 20, 1 << 26};
        try {
            gs::decode(bytes, gs::inspect(bytes, options.limits), nullptr, options, workspace, nowhere);
            recoder.read(bytes, options.limits);
            if (recoder.recode({}) == nullptr) recoder.is_proven();
        } catch (const gs::DecodeError&) {
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    Shared shared;
    std::vector<std::string> paths;
    for (int i = 2; i < argc; i++) {
        for (const auto& entry : fs::directory_iterator(argv[i])) {
            std::ifstream file(entry.path(), std::ios::binary);
            shared.images.emplace_back(std::istreambuf_iterator<char>(file),
                                       std::istreambuf_iterator<char>());
            paths.push_back(entry.path());
            const auto size = static_cast<std::int64_t>(shared.images.back().size());
            shared.ranges.push_back({0, size, static_cast<int>(paths.size()) - 1});
            if (paths.size() % 16 == 0)
                shared.ranges.push_back({size / 2, size, static_cast<int>(paths.size()) - 1});
        }
    }
    if (paths.empty()) {
        std::fprintf(stderr, "usage: %s SECONDS FOLDER...\n", argv[0]);
        return 2;
    }
    paths.push_back("/no/such/file");
    shared.ranges.push_back({0, 100, static_cast<int>(paths.size()) - 1});
    shared.files = std::make_shared<gs::FileSet>(paths, 3);  // so few that they are closed all the time
    shared.pool = std::make_unique<gs::Pool>(3);
    shared.others.resize(6);
    shared.end = Clock::now() + std::chrono::seconds(std::atol(argv[1]));
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 4; seed++)
        threads.emplace_back([&shared, seed] { use_pool(shared, seed); });
    for (unsigned seed = 10; seed < 12; seed++)
        threads.emplace_back([&shared, seed] { recode(shared, seed); });
    for (std::thread& thread : threads) thread.join();
    shared.others.clear();
    std::printf("%zu images, %ld jobs: no finding\n", shared.images.size(), shared.jobs.load());
    return 0;
}
