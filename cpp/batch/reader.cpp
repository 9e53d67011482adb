#include "batch/reader.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

namespace gs {
namespace {

constexpr int kMostOpen = 1 << 16;
// Without O_NONBLOCK, opening a pipe would wait for a writer; for regular files it changes nothing.
constexpr int kReadOnly = O_RDONLY | O_CLOEXEC | O_NONBLOCK;

// How many of `files` may be open at once. Half of the soft limit is left to the rest of the process.
int allowed_open(int files) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 64;
    const auto wanted = static_cast<rlim_t>(std::min(files, kMostOpen)) * 2;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
        rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max == RLIM_INFINITY ? wanted : std::min(wanted, limit.rlim_max);
        if (raised.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    if (limit.rlim_cur == RLIM_INFINITY) return std::min(files, kMostOpen);
    const rlim_t half = std::min(limit.rlim_cur / 2, static_cast<rlim_t>(kMostOpen));
    return std::max(1, std::min(files, static_cast<int>(half)));
}

std::string reason(int error) {
    char text[128];
    return strerror_r(error, text, sizeof text);  // GNU's: returns the text, thread-safe
}

}  // namespace

// Closed when the table and all reads that are under way have let go of it.
struct FileSet::Descriptor {
    explicit Descriptor(int number) : fd(number) {}
    ~Descriptor() { close(fd); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    const int fd;
};

// A doubly linked list through the entries, most recently used first; entry `count` is its head.
struct FileSet::Table {
    struct Entry {
        std::shared_ptr<const Descriptor> open;
        int newer = -1;
        int older = -1;
    };
    explicit Table(int files) : entries(static_cast<std::size_t>(files) + 1), head(files) {
        at(head).newer = at(head).older = head;
    }
    Entry& at(int i) { return entries[static_cast<std::size_t>(i)]; }
    void unlink(int i) {
        at(at(i).newer).older = at(i).older;
        at(at(i).older).newer = at(i).newer;
    }
    void push_front(int i) {
        at(i).newer = head;
        at(i).older = at(head).older;
        at(at(head).older).newer = i;
        at(head).older = i;
    }
    void close_file(int i) {
        unlink(i);
        at(i).open.reset();
        open--;
    }
    // Closes the least recently used files that are not being read until at most `keep` are open.
    void shrink(int keep) {
        for (int i = at(head).newer; i != head && open > keep;) {
            const int next = at(i).newer;
            if (at(i).open.use_count() == 1) close_file(i);
            i = next;
        }
    }

    std::mutex mutex;
    std::vector<Entry> entries;
    int head;
    int open = 0;
};

FileSet::FileSet(std::vector<std::string> paths, int max_open, std::vector<FileVersion> versions)
    : paths_(std::move(paths)),
      max_open_(max_open > 0 ? max_open : allowed_open(static_cast<int>(paths_.size()))),
      versions_(std::move(versions)),
      pid_(getpid()),
      table_(new Table(static_cast<int>(paths_.size()))) {}

FileSet::~FileSet() = default;

int FileSet::open_now() const {
    const std::lock_guard<std::mutex> lock(table_->mutex);
    return table_->open;
}

void FileSet::after_fork() {
    if (pid_ == getpid()) return;
    pid_ = getpid();
    // Left alone: its lock cannot be trusted, and the inherited descriptors go with the process.
    table_.release();
    table_.reset(new Table(static_cast<int>(paths_.size())));
}

std::shared_ptr<const FileSet::Descriptor> FileSet::open_file(int file) const {
    int fd = open(path(file).c_str(), kReadOnly);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        {
            const std::lock_guard<std::mutex> lock(table_->mutex);
            table_->shrink(table_->open / 2);
        }
        fd = open(path(file).c_str(), kReadOnly);
    }
    const int error = errno;
    if (fd < 0) throw ReadError(path(file) + ": cannot be opened: " + reason(error), error);
    auto opened = std::make_shared<const Descriptor>(fd);
    struct stat facts {};
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode))
        throw ReadError(path(file) + ": is not a regular file");
    return opened;
}

std::shared_ptr<const FileSet::Descriptor> FileSet::acquire(int file) {
    Table& t = *table_;
    {
        const std::lock_guard<std::mutex> lock(t.mutex);
        Table::Entry& entry = t.at(file);
        if (entry.open) {
            t.unlink(file);
            t.push_front(file);
            return entry.open;
        }
    }
    // Opened without the lock: on a network file system this takes a while, and others need not wait.
    std::shared_ptr<const Descriptor> opened = open_file(file);

    const std::lock_guard<std::mutex> lock(t.mutex);
    Table::Entry& entry = t.at(file);
    if (entry.open) {  // another thread was faster
        t.unlink(file);
        opened = entry.open;
    } else {
        entry.open = opened;
        t.open++;
    }
    t.push_front(file);
    if (t.open > max_open_) t.shrink(max_open_);
    return opened;
}

// Asked after every read, so that a file which is rewritten while it is open is noticed: 0.2 us beside a decode.
bool FileSet::changed(int file, int fd) const {
    if (versions_.empty()) return false;
    const FileVersion& known = versions_[static_cast<std::size_t>(file)];
    if (known.inode < 0) return false;
    struct stat now {};
    if (fstat(fd, &now) != 0) return false;  // the read itself has the error
    const std::int64_t mtime_ns = std::int64_t{now.st_mtim.tv_sec} * 1000000000 + now.st_mtim.tv_nsec;
    if (mtime_ns != known.mtime_ns || now.st_size != known.size) return true;
    if (static_cast<std::int64_t>(now.st_ino) == known.inode) return false;
    struct statfs system {};
    constexpr auto kFuse = 0x65735546;  // FUSE may number one file anew whenever it is opened
    return fstatfs(fd, &system) != 0 || system.f_type != kFuse;
}

void FileSet::release(int file, std::shared_ptr<const Descriptor> descriptor, bool dead) {
    const std::lock_guard<std::mutex> lock(table_->mutex);
    if (dead && table_->at(file).open == descriptor) table_->close_file(file);
    descriptor.reset();
    if (table_->open > max_open_) table_->shrink(max_open_);
}

void FileSet::read(int file, std::int64_t offset, std::size_t size, std::uint8_t* to,
                   std::int64_t sample_end) {
    if (file < 0 || file >= count()) throw ReadError("there is no file number " + std::to_string(file));
    if (offset < 0) throw ReadError(path(file) + ": negative offset " + std::to_string(offset));
    std::size_t done = 0;
    for (bool again = true;; again = false) {
        std::shared_ptr<const Descriptor> descriptor = acquire(file);
        int error = 0;
        while (done < size) {
            const ssize_t got = pread(descriptor->fd, to + done, size - done,
                                      static_cast<off_t>(offset) + static_cast<off_t>(done));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) error = errno;
            if (got <= 0) break;
            done += static_cast<std::size_t>(got);
        }
        const bool dead = error == ESTALE || error == EIO;
        const bool other = changed(file, descriptor->fd);
        release(file, std::move(descriptor), dead);
        if (other)
            throw ReadError(path(file) +
                            ": it changed after it was opened, so its index may belong to another version: "
                            "open the dataset again");
        if (error == 0) break;
        if (!dead || !again) throw ReadError(path(file) + ": cannot be read: " + reason(error), error);
    }
    if (done == size) return;
    throw ReadError(path(file) + ": it ends at byte " +
                    std::to_string(offset + static_cast<std::int64_t>(done)) +
                    ", but the sample reaches to byte " + std::to_string(sample_end) +
                    "; the file is shorter than its index says: copy or pack it again");
}

}  // namespace gs
