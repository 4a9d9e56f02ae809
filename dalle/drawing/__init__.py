"""Pictures drawn from captions, and the page on which a person looks at them (`page`, of what `drawn` says)."""
