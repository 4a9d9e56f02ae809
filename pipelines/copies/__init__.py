"""Below the job `pipelines.dedup`: pictures that are copies of others, found, decided on, taken out and shown.

`references` … `reference_sets` say which pictures must not be in the data, `embedding` makes vectors, `comparing`
finds, `cleaning` takes out, `overlap` puts together what was found; `passes` runs them one after the other. `within/`
looks inside the dataset, `review/` makes the page.
"""
