//! Whose turn it is to begin a request.
//!
//! Between two looks at its sockets a worker runs all that is ready. With hundreds of busy connections it would
//! begin hundreds of requests before it finishes one that was answered meanwhile, and what is known of each would
//! have left the processor's caches by then: a request cost half as much again. So when many are under way, only a
//! few begin between two looks. The others wait where they came, in the kernel, and come in the order in which they
//! were ready. Nothing is limited by it, and nobody idles: a worker with nothing else to do looks again at once,
//! however many requests wait for their servers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// How many requests may be under way before others wait for their turn. What is known of so many has room in the
/// caches of any processor.
const FEW: usize = 32;

/// How many more begin at each look at the sockets.
const MORE: usize = 8;

/// The turns of one worker.
#[derive(Debug, Default)]
pub struct Turns {
    under_way: AtomicUsize,
    queue: Mutex<Queue>,
}

/// Who waits.
#[derive(Debug, Default)]
struct Queue {
    /// How many have come to their turn so far: the number of the first one that waits.
    come: u64,
    waiting: VecDeque<Waker>,
    /// How many more may begin before somebody waits.
    left: usize,
}

/// A connection's place in the queue, while it waits. One whose turn has come, but which had nothing to begin with
/// after all, keeps the turn for the next time.
#[derive(Debug, Default)]
pub struct Place(Option<u64>);

impl Turns {
    /// A request is under way on this worker, or is no more.
    pub(super) fn began(&self) {
        self.under_way.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when a connection that can be read may begin a request. To be called from a task of the worker, which
    /// starts another one.
    pub(super) fn poll(self: &Arc<Self>, place: &mut Place, cx: &Context<'_>) -> Poll<()> {
        let queue = &mut *self.queue();
        if let Some(number) = place.0 {
            let Some(ahead) = number.checked_sub(queue.come) else {
                place.0 = None;
                return Poll::Ready(());
            };
            if let Some(waker) = usize::try_from(ahead).ok().and_then(|ahead| queue.waiting.get_mut(ahead)) {
                waker.clone_from(cx.waker());
            }
            return Poll::Pending;
        }
        if queue.waiting.is_empty() {
            if self.under_way.load(Relaxed) < FEW {
                return Poll::Ready(());
            }
            if queue.left > 0 {
                queue.left -= 1;
                return Poll::Ready(());
            }
            tokio::spawn(Arc::clone(self).keep());
        }
        place.0 = Some(queue.come + queue.waiting.len() as u64);
        queue.waiting.push_back(cx.waker().clone());
        Poll::Pending
    }

    /// Lets those begin that wait, some at each look at the sockets. There is one such task exactly while somebody
    /// waits.
    async fn keep(self: Arc<Self>) {
        loop {
            // A runtime of one thread looks at its sockets before it goes on with a task that has yielded. Were it
            // otherwise, they would begin sooner, and no more would be lost by it than the caches' help.
            tokio::task::yield_now().await;
            let more = MORE.max(FEW.saturating_sub(self.under_way.load(Relaxed)));
            for left in (0..more).rev() {
                let queue = &mut *self.queue();
                if let Some(waker) = queue.waiting.pop_front() {
                    queue.come += 1;
                    waker.wake();
                }
                if queue.waiting.is_empty() {
                    queue.left = left.min(MORE);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{sync::mpsc, task::yield_now};

    use super::*;

    fn crowded() -> Arc<Turns> {
        let turns = Arc::new(Turns::default());
        (0..FEW).for_each(|_| turns.began());
        turns
    }

    /// Tasks that wait for their turns, and what says whose turn has come.
    fn wait(turns: &Arc<Turns>, count: usize) -> (Vec<tokio::task::JoinHandle<()>>, mpsc::UnboundedReceiver<usize>) {
        #[allow(clippy::disallowed_methods, reason = "as many as there are tasks")]
        let (tell, told) = mpsc::unbounded_channel();
        let each = |number| {
            let (turns, tell, mut place) = (Arc::clone(turns), tell.clone(), Place::default());
            tokio::spawn(async move {
                poll_fn(|cx| turns.poll(&mut place, cx)).await;
                tell.send(number).unwrap();
            })
        };
        ((0..count).map(each).collect(), told)
    }

    fn so_far(told: &mut mpsc::UnboundedReceiver<usize>) -> Vec<usize> {
        std::iter::from_fn(|| told.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn while_few_are_under_way_nobody_waits() {
        let turns = Arc::new(Turns::default());
        let (_tasks, mut told) = wait(&turns, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(so_far(&mut told), (0..200).collect::<Vec<_>>());
        assert_eq!(turns.queue().come, 0);
    }

    #[tokio::test]
    async fn some_begin_at_each_look_in_their_order_until_nobody_waits() {
        let turns = crowded();
        let (_tasks, mut told) = wait(&turns, 100);
        let mut all = Vec::new();
        let mut looks = 0;
        while all.len() < 100 {
            yield_now().await;
            let now = so_far(&mut told);
            assert!(now.len() <= MORE, "{}", now.len());
            all.extend(now);
            looks += 1;
        }
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(looks >= 100 / MORE, "{looks}");
        assert!(turns.queue().waiting.is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_keeps_nobody_waiting() {
        let turns = crowded();
        let (tasks, mut told) = wait(&turns, 50);
        yield_now().await;
        tasks.iter().skip(10).step_by(2).for_each(tokio::task::JoinHandle::abort);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let is = so_far(&mut told);
        assert!((0..10).chain((11..50).step_by(2)).all(|number| is.contains(&number)), "{is:?}");
        assert!(turns.queue().waiting.is_empty());
        let (_tasks, mut told) = wait(&turns, 30);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(so_far(&mut told), (0..30).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_comes_later_waits_behind_those_who_wait_though_there_is_room_again() {
        let turns = crowded();
        let (_tasks, mut told) = wait(&turns, 20);
        yield_now().await;
        let before = so_far(&mut told).len();
        (0..FEW).for_each(|_| turns.ended());
        let mut place = Place::default();
        if before < 20 {
            assert!(poll_fn(|cx| Poll::Ready(turns.poll(&mut place, cx).is_pending())).await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(before + so_far(&mut told).len(), 20);
    }
}
