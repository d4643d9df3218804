"""exabench"""
