#include "batch/pool.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

namespace gs {

// Shared by the pool, its threads and its work, so that each may go at any time.
struct PoolState {
    std::mutex mutex;
    std::condition_variable wake;      // the threads: there is work, or an end
    std::condition_variable finished;  // threads that wait for work to be done
    std::shared_ptr<Work> first;       // work with items that have not begun, oldest first
    Work* last = nullptr;
    bool stopping = false;
    std::vector<std::thread> threads;
    const pid_t pid = getpid();

    static bool done(const Work& work) {
        return work.running_ == 0 && (work.begun_ == work.items_ || work.cancelled_);
    }
    void pop_first() {
        const std::shared_ptr<Work> old = std::move(first);
        first = std::move(old->next_);
        if (!first) last = nullptr;
    }
    void loop();
};

void PoolState::loop() {
    Workspace workspace;
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
        wake.wait(lock, [this] { return stopping || first; });
        if (stopping) return;
        std::shared_ptr<Work> work = first;
        if (work->cancelled_ || work->begun_ == work->items_) {
            pop_first();
            continue;
        }
        const int item = work->begun_++;
        work->running_++;
        if (work->begun_ == work->items_) pop_first();
        lock.unlock();
        work->run(item, workspace);
        lock.lock();
        work->running_--;
        if (done(*work)) finished.notify_all();
        if (work.use_count() == 1) {  // the last reference: the destructor must not run within the lock
            lock.unlock();
            work.reset();
            lock.lock();
        }
    }
}

Work::Work(int items) : items_(items) {}
Work::~Work() = default;

bool Work::wait(std::chrono::nanoseconds slice) {
    if (!pool_) return items_ == 0;
    if (pool_->pid != getpid())
        throw std::runtime_error(
            "this job was submitted before a fork and its threads stayed in the parent process; submit it "
            "again "
            "here");
    std::unique_lock<std::mutex> lock(pool_->mutex);
    return pool_->finished.wait_for(lock, slice, [this] { return PoolState::done(*this); });
}

void Work::cancel() {
    if (!pool_ || pool_->pid != getpid()) return;
    const std::lock_guard<std::mutex> lock(pool_->mutex);
    cancelled_ = true;
    if (PoolState::done(*this)) pool_->finished.notify_all();
}

Pool::Pool(int threads) : threads_(threads) {
    if (threads < 1) throw std::invalid_argument("a pool needs at least one thread");
}

Pool::~Pool() {
    finish(detach());
}

void Pool::submit(std::shared_ptr<Work> work) {
    // In the child of a fork the threads do not exist and the lock may be held indefinitely: the old state is
    // left alone, never destroyed, and a new one begun.
    if (state_ && state_->pid != getpid()) new std::shared_ptr<PoolState>(std::move(state_));
    if (!state_) {
        auto state = std::make_shared<PoolState>();
        // Signals are for the threads of the program, which know what to do with them; faults stay with the
        // thread that commits them, so that a fault handler still reports them.
        sigset_t all, before;
        sigfillset(&all);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            for (int i = 0; i < threads_; i++) {
                state->threads.emplace_back([state] { state->loop(); });
                pthread_setname_np(state->threads.back().native_handle(), "gs-decode");
            }
        } catch (const std::system_error&) {
            if (state->threads.empty()) {
                pthread_sigmask(SIG_SETMASK, &before, nullptr);
                throw std::runtime_error(
                    "the system does not allow another thread: the decoder cannot start");
            }
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        state_ = std::move(state);
    }
    if (work->items() == 0) return;
    const std::lock_guard<std::mutex> lock(state_->mutex);
    work->pool_ = state_;
    Work* const added = work.get();
    (state_->last ? state_->last->next_ : state_->first) = std::move(work);
    state_->last = added;
    state_->wake.notify_all();
}

std::shared_ptr<PoolState> Pool::detach() {
    return std::move(state_);
}

void Pool::finish(std::shared_ptr<PoolState> state) {
    if (!state) return;
    if (state->pid != getpid()) {
        new std::shared_ptr<PoolState>(std::move(state));  // see submit()
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(state->mutex);
        state->stopping = true;
        while (state->first) {
            state->first->cancelled_ = true;
            state->pop_first();
        }
        state->wake.notify_all();
        state->finished.notify_all();
    }
    for (std::thread& thread : state->threads) thread.join();
}

}  // namespace gs
