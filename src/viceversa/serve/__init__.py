"""HTTP service of translators: `viceversa serve`."""
