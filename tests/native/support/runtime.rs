//! One thread, many tasks, virtual time.
//!
//! Owns the order in which tasks run (first come first served, or drawn from a seed) and the clock: time
//! stands still while any task can run, and jumps to the next timer when none can. A run with the same
//! seed is the same run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls after which a run is taken for endless.
const MOST_POLLS: u64 = 20_000_000;
/// The task that `run` was called with.
const ROOT: u64 = 0;

#[derive(Default)]
struct Ready(Mutex<Vec<u64>>);

impl Ready {
    fn list(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Bell {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut list = self.ready.list();
        if !list.contains(&self.task) {
            list.push(self.task);
        }
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Whose a task is: it ends when its owner does. Tasks of nobody go on.
pub(crate) type Owner = u32;
/// The owner of what nobody can end.
pub(crate) const NOBODY: Owner = 0;

struct Inner {
    now_ms: Cell<i64>,
    next_id: Cell<u64>,
    timers: RefCell<BTreeMap<(i64, u64), Waker>>,
    tasks: RefCell<BTreeMap<u64, (Owner, Boxed)>>,
    killing: Cell<bool>,
    ready: Arc<Ready>,
    draws: RefCell<Option<Draws>>,
}

/// Numbers drawn from a seed (splitmix64).
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// The executor and its clock. Clones share both.
#[derive(Clone)]
pub(crate) struct Runtime(Rc<Inner>);

impl Runtime {
    /// Tasks take turns; with a seed the turns are drawn.
    pub(crate) fn new(start: i64, seed: Option<u64>) -> Self {
        Self(Rc::new(Inner {
            now_ms: Cell::new(start * 1000),
            next_id: Cell::new(1),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            killing: Cell::new(false),
            ready: Arc::default(),
            draws: RefCell::new(seed.map(Draws::new)),
        }))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.now_ms.get()
    }

    pub(crate) fn now(&self) -> i64 {
        self.now_ms() / 1000
    }

    /// Moves the clock without running anything.
    pub(crate) fn jump(&self, seconds: i64) {
        self.0.now_ms.set(self.now_ms() + seconds * 1000);
    }

    fn id(&self) -> u64 {
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        id
    }

    /// Lets another task run first.
    pub(crate) async fn pause(&self) {
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
        let timer = Timer { key: (self.now_ms() + milliseconds, self.id()), runtime: self };
        std::future::poll_fn(|context| {
            if self.now_ms() >= timer.key.0 {
                return Poll::Ready(());
            }
            self.0.timers.borrow_mut().insert(timer.key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Starts a task that goes on by itself.
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.spawn_for(NOBODY, future)
    }

    /// Starts a task that ends where it stands when its owner is killed.
    pub(crate) fn spawn_for<T: 'static>(&self, owner: Owner, future: impl Future<Output = T> + 'static) -> Task<T> {
        let id = self.id();
        let slot = Rc::new(Slot { value: RefCell::new(None), waiting: RefCell::new(None) });
        let filled = Rc::clone(&slot);
        let task: Boxed = Box::pin(async move {
            let value = future.await;
            *filled.value.borrow_mut() = Some(value);
            if let Some(waker) = filled.waiting.borrow_mut().take() {
                waker.wake();
            }
        });
        self.0.tasks.borrow_mut().insert(id, (owner, task));
        self.0.ready.list().push(id);
        Task { id, slot, runtime: self.clone() }
    }

    /// All of an owner's tasks stop for ever, as when a process is killed. Answers how many.
    pub(crate) fn kill_all_of(&self, owner: Owner) -> usize {
        let doomed: Vec<u64> =
            self.0.tasks.borrow().iter().filter(|(_, (whose, _))| *whose == owner).map(|(id, _)| *id).collect();
        for id in &doomed {
            self.kill(*id);
        }
        doomed.len()
    }

    fn kill(&self, id: u64) {
        let task = self.0.tasks.borrow_mut().remove(&id);
        self.0.killing.set(true);
        drop(task);
        self.0.killing.set(false);
    }

    /// Nothing goes on any more: tasks hold the world they run in, which would hold them for ever.
    pub(crate) fn end(&self) {
        let tasks = self.0.tasks.take();
        let timers = self.0.timers.take();
        self.0.ready.list().clear();
        drop((tasks, timers));
    }

    /// Whether what is dropped now is dropped because its task is killed.
    pub(crate) fn is_killing(&self) -> bool {
        self.0.killing.get()
    }

    /// Runs a future to its end, and every other task as far as that takes.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut root = pin!(future);
        self.0.ready.list().push(ROOT);
        for _ in 0..MOST_POLLS {
            match self.pick() {
                Some(ROOT) => {
                    if let Poll::Ready(output) = self.poll(ROOT, root.as_mut()) {
                        self.0.ready.list().retain(|id| *id != ROOT);
                        return output;
                    }
                }
                Some(id) => self.poll_task(id),
                None => assert!(self.advance(), "every task waits for something that can't come"),
            }
        }
        panic!("a run without end");
    }

    /// Runs until no task is left that could go on.
    pub(crate) fn drain(&self) {
        for _ in 0..MOST_POLLS {
            match self.pick() {
                Some(id) => self.poll_task(id),
                None if self.advance() => {}
                None => return,
            }
        }
        panic!("a drain without end");
    }

    fn pick(&self) -> Option<u64> {
        let mut list = self.0.ready.list();
        if list.is_empty() {
            return None;
        }
        let at = self.0.draws.borrow_mut().as_mut().map_or(0, |draws| draws.below(list.len()));
        Some(list.remove(at))
    }

    fn poll<F: Future + ?Sized>(&self, id: u64, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(Bell { task: id, ready: Arc::clone(&self.0.ready) }));
        future.poll(&mut Context::from_waker(&waker))
    }

    fn poll_task(&self, id: u64) {
        let Some((owner, mut task)) = self.0.tasks.borrow_mut().remove(&id) else { return };
        if self.poll(id, task.as_mut()).is_pending() {
            self.0.tasks.borrow_mut().insert(id, (owner, task));
        }
    }

    fn advance(&self) -> bool {
        let Some((key, waker)) = self.0.timers.borrow_mut().pop_first() else { return false };
        self.0.now_ms.set(self.now_ms().max(key.0));
        waker.wake();
        true
    }
}

/// A timer that nobody waits for any more does not move the clock.
struct Timer<'a> {
    key: (i64, u64),
    runtime: &'a Runtime,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.runtime.0.timers.borrow_mut().remove(&self.key);
    }
}

struct Slot<T> {
    value: RefCell<Option<T>>,
    waiting: RefCell<Option<Waker>>,
}

/// A task's end, to be waited for. Dropping it lets the task go on; [`Task::kill`] ends it where it stands.
pub(crate) struct Task<T> {
    id: u64,
    slot: Rc<Slot<T>>,
    runtime: Runtime,
}

impl<T> Task<T> {
    /// The task stops for ever, as in a crash.
    pub(crate) fn kill(self) {
        self.runtime.kill(self.id);
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.slot.value.borrow_mut().take() {
            return Poll::Ready(value);
        }
        *self.slot.waiting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}
