//! The terminal, which a progress bar shares with lines of text.

#[cfg(feature = "progress")]
thread_local! {
    /// The bar that is drawn: a run draws at most one, and calls its callbacks on one thread.
    static BAR: std::cell::RefCell<Option<indicatif::ProgressBar>> = const { std::cell::RefCell::new(None) };
}

/// Sets the bar that is drawn from now on.
#[cfg(feature = "progress")]
pub(super) fn set_bar(bar: Option<indicatif::ProgressBar>) {
    BAR.set(bar);
}

/// Whether a bar is drawn.
#[cfg(all(test, feature = "progress"))]
pub(super) fn has_bar() -> bool {
    BAR.with_borrow(Option::is_some)
}

/// Hides the bar while something is printed, so that no part of it remains above the text.
pub(super) fn beside_bar<T>(print: impl FnOnce() -> T) -> T {
    #[cfg(feature = "progress")]
    if let Some(bar) = BAR.with_borrow(|bar| bar.clone()) {
        return bar.suspend(print);
    }
    print()
}
