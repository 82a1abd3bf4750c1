//! Text that HTML and scripts take for text.

/// Text as the content of an element or the value of an attribute in quotes.
pub(super) fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for letter in raw.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

/// A value as JSON that can stand inside a script element.
///
/// The three letters that could end the element or start a comment occur in JSON only inside of strings, where an escape
/// means the same.
pub(super) fn json(value: &serde_json::Value) -> String {
    value.to_string().replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(text(r#"<b a="1" b='2'>R&D</b>"#), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;R&amp;D&lt;/b&gt;");
        assert_eq!(text("Schuh 靴 👟"), "Schuh 靴 👟");
    }

    #[test]
    fn json_cannot_end_its_script_element() {
        let value = serde_json::json!({ "a</script>": ["<!--", "]]>", "&lt;", "\"\\"] });
        let safe = json(&value);
        assert!(!safe.contains(['<', '>', '&']), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
