//! The `with_…` methods of configurations.

/// Writes one `with_…` method a field; the field's documentation says what the value means.
macro_rules! setters {
    ($($method:ident => $field:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $method(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )*};
}
