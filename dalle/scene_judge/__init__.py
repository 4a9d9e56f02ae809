"""A judge of drawn scenes: what things a picture shows, in which colours, where, and on what background.

It is trained on true drawings of the dialect alone (`dalle.train_judge`), never on what a model drew, and tells of any
picture whether it shows what a caption of the dialect says (`dalle.judge`).
"""
