"""Pages that a person looks at: one file each that needs nothing else and asks nothing of any network.

`frame` puts a page together, `texts` is how others' words stand on it. What pages share in a browser lies in `shared/`:
`frame.html` is what is around them, `common.css` how they look, `list.js` a long list, `pictures.js` the pictures that
a page carries, `chrome.js` light and dark and keys, `elements.js` what all of these need.
"""
