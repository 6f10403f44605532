/* Regexes as automata: which of many occur in a text, and what one of them captures.

   The control plane compiles them (control_plane/compiler/automata/). Code is bytes of any alignment;
   all integers are little-endian. A check refuses everything that a run could not take, so a run tests
   nothing but the text's length, and never leaves the code, the text or its result. Code that passed a
   check must not change. Nothing here allocates, locks, recurses or keeps a state.

   A set of regexes ("CWS1"):

       0  char magic[4]   4  u32 size of all   8  u16 regexes   10  u16 words = ceil(regexes / 64)
      12  u16 parts      14  u16 0            16  the parts, one after another

   A part is a deterministic automaton. State 0 is dead: each byte leads from it to itself. A state at
   or after `quiet` tells a set of regexes when it is reached; each state tells one where the text ends.

       0  u32 size of the part   4  u16 states   6  u16 columns   8  u16 start   10  u16 quiet
      12  u16 sets              14  u16 0
      16  u8 column[256]                    of each byte
          u16 ends[states]                  index of a set
          u16 tells[states - quiet]         index of a set
          u64 set[sets][words]              bit n: regex n occurs; set 0 is empty
          u16 next[states][columns]

   Captures ("CWC1"): an automaton whose ways have moves between registers. Register 2n has the begin
   of group n, register 2n+1 its end, when a list of moves says that the regex occurs.

       0  char magic[4]   4  u32 size of all   8  u16 states   10  u16 columns   12  u16 start
      14  u8 groups      15  u8 registers (at most CW_CAPTURES_REGISTERS)
      16  u16 lists      18  u16 0            20  u32 bytes of moves
      24  u8 column[256]
          u32 list[lists]                   offset of each list in moves
          u16 ends[states]                  index of the list where the text ends; 0: the regex does
                                            not occur there
          u8  moves[]                       a list: u8 occurs, u8 count, then pairs of u8: the register
                                            that is written and the one that is read; 254: -1;
                                            255: the position
          u32 way[states][columns]          low half: next state; high half: index of a list; list 0
                                            has no moves
*/
#ifndef CW_AUTOMATON_H
#define CW_AUTOMATON_H

#include <stddef.h>
#include <stdint.h>

#define CW_SET_WORDS 16          /* cw_set_run writes at most so many words: 1,024 regexes */
#define CW_CAPTURES_GROUPS 32    /* cw_captures_run writes at most so many pairs */
#define CW_CAPTURES_REGISTERS 250

/* Return 1 if these bytes are a set that cw_set_run can run, else 0. */
int cw_set_check(const uint8_t *code, size_t size);
/* Return how many words cw_set_run writes. */
size_t cw_set_words(const uint8_t *code);
/* Tell which regexes of a checked set occur in a text: bit n % 64 of bits[n / 64] is regex n. */
void cw_set_run(const uint8_t *code, const char *text, size_t length, uint64_t *bits);

/* Return 1 if these bytes are captures that cw_captures_run can run, else 0. */
int cw_captures_check(const uint8_t *code, size_t size);
/* Return how many groups cw_captures_run tells. */
size_t cw_captures_groups(const uint8_t *code);
/* Write the begin and the end of each group of checked captures, -1 for a group that took no part.
   Return 1 if the regex occurs, 0 if not (then all are -1); -1 if the text is too long to tell
   (INT32_MAX). */
int cw_captures_run(const uint8_t *code, const char *text, size_t length, int32_t *spans);

#endif
