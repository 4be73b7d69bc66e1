/* launcher/cpuid: what the C library noted is what the processor says. */
#include "tests/unit/check.h"

#include "launcher/cpuid.h"

#if defined(__x86_64__)

static void noted_is_what_is_asked(void **state)
{
    /* Of leaf 1, EBX names the processor that asks. */
    static const struct {
        uint32_t leaf, subleaf;
        int first, last;
    } cases[] = {
        {0x1, 0, PYE_ECX, PYE_EDX}, {0x7, 0, PYE_EBX, PYE_EDX},        {0x7, 1, PYE_EAX, PYE_EAX},
        {0xd, 1, PYE_EAX, PYE_EAX}, {0x80000001, 0, PYE_ECX, PYE_EDX}, {0x1234, 0, PYE_EAX, PYE_EDX},
    };
    uint32_t noted[PYE_CPUID_WORDS], asked[PYE_CPUID_WORDS];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pye_cpuid(cases[i].leaf, cases[i].subleaf, noted);
        pye_cpuid_asked(cases[i].leaf, cases[i].subleaf, asked);
        for (int word = cases[i].first; word <= cases[i].last; word++) {
            if (noted[word] != asked[word])
                fail_msg("leaf %x.%x, word %d: %x, not %x", cases[i].leaf, cases[i].subleaf, word, noted[word],
                         asked[word]);
        }
    }
}

static void every_processor_has_these(void **state)
{
    enum { SSE2 = 1 << 26 };
    uint32_t words[PYE_CPUID_WORDS];
    (void)state;
    pye_cpuid(0x1, 0, words);
    assert_true(words[PYE_EDX] & SSE2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noted_is_what_is_asked),
        cmocka_unit_test(every_processor_has_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    return 0;
}

#endif
