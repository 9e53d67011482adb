// Threads that carry out work in the order in which it was submitted.
#pragma once

#include <chrono>
#include <memory>

#include "base/workspace.hpp"

namespace gs {

struct PoolState;

// A number of independent items. Kept alive by its waiters, and by the pool while it is unfinished.
class Work {
  public:
    explicit Work(int items);
    virtual ~Work();
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    // Carries one item out, on one of the pool's threads; every item once, in rising order, several
    // at a time.
    virtual void run(int item, Workspace& workspace) noexcept = 0;

    int items() const { return items_; }
    // True when no item is running or waiting any more. Sleeps at most `slice`. Throws std::runtime_error in
    // the child of a fork: the threads stayed in the parent.
    bool wait(std::chrono::nanoseconds slice);
    // Items that have not begun will not begin. Those that run are finished.
    void cancel();
    // How many items were begun; all, unless the work was cancelled. Meaningful when wait() has said true.
    int begun() const { return begun_; }

  private:
    friend class Pool;
    friend struct PoolState;
    const int items_;
    int begun_ = 0;  // guarded by the pool's lock, as all below
    int running_ = 0;
    bool cancelled_ = false;
    std::shared_ptr<PoolState> pool_;
    std::shared_ptr<Work> next_;  // the queue is a list through the work itself
};

class Pool {
  public:
    // The threads start with the first work.
    explicit Pool(int threads);
    // Cancels what is unfinished and waits for the items that run.
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int threads() const { return threads_; }
    void submit(std::shared_ptr<Work> work);
    // The destructor's two steps, for callers that must release a lock between them: after detach() the next
    // work starts new threads, finish() ends the old ones.
    std::shared_ptr<PoolState> detach();
    static void finish(std::shared_ptr<PoolState> state);

  private:
    const int threads_;
    std::shared_ptr<PoolState> state_;
};

}  // namespace gs
