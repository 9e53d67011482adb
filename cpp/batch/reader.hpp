// Byte ranges of files: many files, few open descriptors, any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/types.hpp"

namespace gs {

// A file could not be opened or read; what() names it.
class ReadError : public std::runtime_error {
  public:
    explicit ReadError(const std::string& what, int error = 0) : std::runtime_error(what), error_(error) {}
    // The system's number of the error (errno); 0 when it gave none.
    int error() const { return error_; }

  private:
    int error_;
};

// Tells versions of a file apart: a file that was replaced or rewritten has another one. `inode` -1: no file.
struct FileVersion {
    std::int64_t inode, mtime_ns, size;
};

// Files are opened when first read and stay open, the least recently used being closed beyond `max_open`.
// Thread-safe. Reads are positional, so threads share a descriptor. A descriptor whose reads fail with ESTALE or
// EIO, as those of network file systems do for good when a file is replaced or a server restarts, is given up,
// and the file opened again, once for each read.
class FileSet {
  public:
    // `max_open` 0: as many as the process may well open; the soft limit on descriptors is raised towards the
    // hard one when there are more files than it allows. `versions`: of each file, or none at all; reading
    // from another version is an error.
    FileSet(std::vector<std::string> paths, int max_open, std::vector<FileVersion> versions = {});
    ~FileSet();
    FileSet(const FileSet&) = delete;
    FileSet& operator=(const FileSet&) = delete;

    int count() const { return static_cast<int>(paths_.size()); }
    int max_open() const { return max_open_; }
    int open_now() const;
    const std::string& path(int file) const { return paths_[static_cast<std::size_t>(file)]; }

    // Reads exactly `size` bytes at `offset` into `to`. Throws ReadError, which tells a user where the sample
    // ends that these bytes belong to: `sample_end`.
    void read(int file, std::int64_t offset, std::size_t size, std::uint8_t* to, std::int64_t sample_end);

    // To be called before use in a process that may be a fork's child: the parent's lock may have been held
    // at the moment of the fork by a thread that does not exist here.
    void after_fork();

  private:
    struct Descriptor;
    struct Table;
    bool changed(int file, int fd) const;
    std::shared_ptr<const Descriptor> open_file(int file) const;
    std::shared_ptr<const Descriptor> acquire(int file);
    // `dead`: the descriptor is not used again.
    void release(int file, std::shared_ptr<const Descriptor> descriptor, bool dead);

    std::vector<std::string> paths_;
    int max_open_;
    std::vector<FileVersion> versions_;
    long pid_;
    std::unique_ptr<Table> table_;
};

}  // namespace gs
