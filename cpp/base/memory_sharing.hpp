// Processes that decode beside each other: large leases of theirs come one after the other.
#pragma once

#include <cstdint>

namespace gs {

// From now on a lease of more than `from` bytes holds a lock (fcntl) on the open file `file` as well, which only one
// process has at a time, and loses when it ends, however it ends. To be called before there are such leases.
void share_leases(int file, std::int64_t from);

}  // namespace gs
