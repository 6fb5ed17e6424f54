"""What the editors of programming sites have loaded already, for `CodeReward(preamble=...)`."""

LEETCODE = '''
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from string import *
from typing import *
from builtins import pow
try:
    from sortedcontainers import SortedDict, SortedList, SortedSet
except ImportError:
    pass


class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right


def list_node(values):
    head = None
    for value in reversed(values or []):
        head = ListNode(value, head)
    return head


def is_same_list(a, b):
    while a is not None and b is not None and a.val == b.val:
        a, b = a.next, b.next
    return a is None and b is None


def tree_node(values):
    """A tree from its values level by level, `None` where a child is missing."""
    if not values or values[0] is None:
        return None
    root = TreeNode(values[0])
    parents, rest = deque([root]), iter(values[1:])
    while parents:
        parent = parents.popleft()
        for side in ("left", "right"):
            value = next(rest, None)
            if value is not None:
                child = TreeNode(value)
                setattr(parent, side, child)
                parents.append(child)
    return root


def is_same_tree(a, b):
    if a is None or b is None:
        return a is None and b is None
    return a.val == b.val and is_same_tree(a.left, b.left) and is_same_tree(a.right, b.right)
'''
