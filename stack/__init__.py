"""The native stack: every part of etar as a process on one machine, without containers.

``layout`` says where things are, ``configuration`` makes the settings, ``parts/`` has one file a part, ``launch`` turns
into one of them, ``supervision`` keeps them running and ``lifecycle`` starts and stops the whole.
"""
