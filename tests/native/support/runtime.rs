//! One thread, many tasks, virtual time.
//!
//! Owns the order in which tasks run (first come first served, or drawn from a seed) and the clock: time stands still
//! while any task can run, and jumps to the next timer when none can. Runs with the same seed are identical.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// After this many polls a run counts as endless.
const MAX_POLLS: u64 = 20_000_000;
/// The task that `run` was called with.
const ROOT_TASK: u64 = 0;

#[derive(Default)]
struct ReadyQueue(Mutex<Vec<u64>>);

impl ReadyQueue {
    fn lock_tasks(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    task: u64,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut list = self.ready.lock_tasks();
        if !list.contains(&self.task) {
            list.push(self.task);
        }
    }
}

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// The owner of a task. The task ends with its owner. Tasks without an owner continue.
pub(crate) type TaskOwner = u32;
/// The owner of tasks that nobody can end.
pub(crate) const NO_OWNER: TaskOwner = 0;

struct RuntimeState {
    now_ms: Cell<i64>,
    next_id: Cell<u64>,
    timers: RefCell<BTreeMap<(i64, u64), Waker>>,
    tasks: RefCell<BTreeMap<u64, (TaskOwner, BoxedTask)>>,
    killing: Cell<bool>,
    ready: Arc<ReadyQueue>,
    turn_order: RefCell<Option<RandomSequence>>,
}

/// Random numbers from a seed (splitmix64).
pub(crate) struct RandomSequence(u64);

impl RandomSequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn next_below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// The executor and its clock. Clones share both.
#[derive(Clone)]
pub(crate) struct Runtime(Rc<RuntimeState>);

impl Runtime {
    /// Tasks run in turn. With a seed the order is drawn.
    pub(crate) fn new(start: i64, seed: Option<u64>) -> Self {
        Self(Rc::new(RuntimeState {
            now_ms: Cell::new(start * 1000),
            next_id: Cell::new(1),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            killing: Cell::new(false),
            ready: Arc::default(),
            turn_order: RefCell::new(seed.map(RandomSequence::new)),
        }))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.now_ms.get()
    }

    pub(crate) fn now(&self) -> i64 {
        self.now_ms() / 1000
    }

    /// Moves the clock without running anything.
    pub(crate) fn advance_clock(&self, seconds: i64) {
        self.0.now_ms.set(self.now_ms() + seconds * 1000);
    }

    fn take_id(&self) -> u64 {
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        id
    }

    /// Lets another task run first.
    pub(crate) async fn yield_now(&self) {
        let mut paused = false;
        std::future::poll_fn(|context| {
            if paused {
                return Poll::Ready(());
            }
            paused = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    pub(crate) async fn sleep(&self, milliseconds: i64) {
        let timer = Timer { key: (self.now_ms() + milliseconds, self.take_id()), runtime: self };
        std::future::poll_fn(|context| {
            if self.now_ms() >= timer.key.0 {
                return Poll::Ready(());
            }
            self.0.timers.borrow_mut().insert(timer.key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Starts a task that runs on its own.
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.spawn_owned(NO_OWNER, future)
    }

    /// Starts a task that ends when its owner is killed.
    pub(crate) fn spawn_owned<T: 'static>(
        &self,
        owner: TaskOwner,
        future: impl Future<Output = T> + 'static,
    ) -> Task<T> {
        let id = self.take_id();
        let slot = Rc::new(TaskSlot { value: RefCell::new(None), waker: RefCell::new(None) });
        let filled = Rc::clone(&slot);
        let task: BoxedTask = Box::pin(async move {
            let value = future.await;
            *filled.value.borrow_mut() = Some(value);
            if let Some(waker) = filled.waker.borrow_mut().take() {
                waker.wake();
            }
        });
        self.0.tasks.borrow_mut().insert(id, (owner, task));
        self.0.ready.lock_tasks().push(id);
        Task { id, slot, runtime: self.clone() }
    }

    /// Ends all tasks of an owner, as when a process is killed. Returns their number.
    pub(crate) fn kill_owned_by(&self, owner: TaskOwner) -> usize {
        let doomed: Vec<u64> =
            self.0.tasks.borrow().iter().filter(|(_, (whose, _))| *whose == owner).map(|(id, _)| *id).collect();
        for id in &doomed {
            self.kill_task(*id);
        }
        doomed.len()
    }

    fn kill_task(&self, id: u64) {
        let task = self.0.tasks.borrow_mut().remove(&id);
        self.0.killing.set(true);
        drop(task);
        self.0.killing.set(false);
    }

    /// Ends everything. Tasks hold the world they run in, and would hold it for ever.
    pub(crate) fn drop_all_tasks(&self) {
        let tasks = self.0.tasks.take();
        let timers = self.0.timers.take();
        self.0.ready.lock_tasks().clear();
        drop((tasks, timers));
    }

    /// Whether a value is dropped because its task is killed.
    pub(crate) fn is_killing(&self) -> bool {
        self.0.killing.get()
    }

    /// Runs a future to its end, and other tasks as far as that needs.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut root = pin!(future);
        self.0.ready.lock_tasks().push(ROOT_TASK);
        for _ in 0..MAX_POLLS {
            match self.take_ready_task() {
                Some(ROOT_TASK) => {
                    if let Poll::Ready(output) = self.poll(ROOT_TASK, root.as_mut()) {
                        self.0.ready.lock_tasks().retain(|id| *id != ROOT_TASK);
                        return output;
                    }
                }
                Some(id) => self.poll_task(id),
                None => assert!(self.advance_to_next_timer(), "every task waits for something that can't come"),
            }
        }
        panic!("a run without end");
    }

    /// Runs until no task can continue.
    pub(crate) fn run_until_idle(&self) {
        for _ in 0..MAX_POLLS {
            match self.take_ready_task() {
                Some(id) => self.poll_task(id),
                None if self.advance_to_next_timer() => {}
                None => return,
            }
        }
        panic!("a drain without end");
    }

    fn take_ready_task(&self) -> Option<u64> {
        let mut list = self.0.ready.lock_tasks();
        if list.is_empty() {
            return None;
        }
        let at = self.0.turn_order.borrow_mut().as_mut().map_or(0, |draws| draws.next_below(list.len()));
        Some(list.remove(at))
    }

    fn poll<F: Future + ?Sized>(&self, id: u64, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.0.ready) }));
        future.poll(&mut Context::from_waker(&waker))
    }

    fn poll_task(&self, id: u64) {
        let Some((owner, mut task)) = self.0.tasks.borrow_mut().remove(&id) else { return };
        if self.poll(id, task.as_mut()).is_pending() {
            self.0.tasks.borrow_mut().insert(id, (owner, task));
        }
    }

    fn advance_to_next_timer(&self) -> bool {
        let Some((key, waker)) = self.0.timers.borrow_mut().pop_first() else { return false };
        self.0.now_ms.set(self.now_ms().max(key.0));
        waker.wake();
        true
    }
}

/// A timer without a waiting task does not move the clock.
struct Timer<'a> {
    key: (i64, u64),
    runtime: &'a Runtime,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.runtime.0.timers.borrow_mut().remove(&self.key);
    }
}

struct TaskSlot<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

/// A handle to wait for a task's end. Dropping it lets the task continue. [`Task::kill`] ends the task.
pub(crate) struct Task<T> {
    id: u64,
    slot: Rc<TaskSlot<T>>,
    runtime: Runtime,
}

impl<T> Task<T> {
    /// Ends the task, as in a crash.
    pub(crate) fn kill(self) {
        self.runtime.kill_task(self.id);
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.slot.value.borrow_mut().take() {
            return Poll::Ready(value);
        }
        *self.slot.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}
