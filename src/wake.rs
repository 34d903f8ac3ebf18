//! Wakes by which a task wakes itself for nothing.
//!
//! hyper's channel for a body wakes its sender when a part has been taken out, so that the next one may be sent. In
//! HTTP/1 sender and receiver are one and the same task, the connection's, and of nearly all messages the first part
//! is the last one: for each body the task would run once more, through all of its layers, to find that there is
//! nothing to do.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;

thread_local! {
    static QUIET: Cell<Quiet> = const { Cell::new(Quiet::Off) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Off,
    On,
    /// On, and somebody was woken.
    Woken,
}

/// A waker that heeds [`quietly`].
struct Heeding(Waker);

impl Wake for Heeding {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match QUIET.get() {
            Quiet::Off => self.0.wake_by_ref(),
            Quiet::On | Quiet::Woken => QUIET.set(Quiet::Woken),
        }
    }
}

pin_project! {
    /// A future whose task is not woken by what is done [`quietly`].
    pub(crate) struct Quietable<F> {
        #[pin]
        future: F,
        // The task's waker, and the one that takes its place.
        wakers: Option<(Waker, Waker)>,
    }
}

impl<F> Quietable<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self { future, wakers: None }
    }
}

impl<F: Future> Future for Quietable<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.wakers.take_if(|(task, _)| !task.will_wake(cx.waker()));
        let (_, heeding) =
            this.wakers.get_or_insert_with(|| (cx.waker().clone(), Waker::from(Arc::new(Heeding(cx.waker().clone())))));
        this.future.poll(&mut Context::from_waker(heeding))
    }
}

/// Takes a part out of a body without waking a [`Quietable`] task from this thread; and whether it would have been
/// woken. Nothing else may be done so: any other task that it should wake would not be.
pub(crate) fn quietly<T>(what: impl FnOnce() -> T) -> (T, bool) {
    struct Until;
    impl Drop for Until {
        fn drop(&mut self) {
            QUIET.set(Quiet::Off);
        }
    }
    let _until = Until;
    QUIET.set(Quiet::On);
    let done = what();
    (done, QUIET.get() == Quiet::Woken)
}

/// The body of a request, whose last part wakes nobody.
#[derive(Debug)]
pub(crate) struct Calm(pub(crate) Incoming);

impl Body for Calm {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (frame, woken) = quietly(|| Pin::new(&mut self.0).poll_frame(cx));
        if woken && !self.0.is_end_stream() {
            cx.waker().wake_by_ref();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_what_is_done_quietly_on_the_same_thread_wakes_nobody() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let task = Waker::from(Arc::clone(&count));
        let woken = || count.0.load(Ordering::Relaxed);
        let mut seen = None;
        let future = poll_fn(|cx| {
            seen = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        assert!(Box::pin(Quietable::new(future)).as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        let heeding = seen.unwrap();

        heeding.wake_by_ref();
        assert_eq!(woken(), 1);
        assert_eq!(quietly(|| heeding.wake_by_ref()), ((), true));
        assert_eq!(quietly(|| 7), (7, false));
        assert_eq!(woken(), 1);
        quietly(|| thread::scope(|scope| scope.spawn(|| heeding.wake_by_ref()).join().unwrap()));
        assert_eq!(woken(), 2, "another thread has other reasons");
        assert!(std::panic::catch_unwind(|| quietly(|| panic!("on purpose"))).is_err());
        heeding.wake_by_ref();
        assert_eq!(woken(), 3, "it is over after a panic too");
    }
}
