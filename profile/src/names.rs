//! Where people live and what they are called. Lists may not be reordered or extended: stored sequences depend on
//! their positions.

/// One country with its names, streets and habits.
pub(crate) struct Nation {
    pub(crate) code: &'static str,
    pub(crate) country: &'static str,
    /// Whether the nested form writes the postal code as a number; then telephone numbers are plain digits too.
    pub(crate) numeric_postcode: bool,
    /// Kind of the personal number; empty where the country has none.
    pub(crate) identity: &'static str,
    pub(crate) offset: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) female: &'static [&'static str],
    pub(crate) male: &'static [&'static str],
    pub(crate) last: &'static [&'static str],
    pub(crate) streets: &'static [&'static str],
    /// City and state.
    pub(crate) cities: &'static [&'static (&'static str, &'static str)],
}

pub(crate) const NATIONS: &[&Nation] = &[
    &Nation {
        code: "DK",
        country: "Denmark",
        numeric_postcode: true,
        identity: "CPR",
        offset: "+1:00",
        zone: "Brussels, Copenhagen, Madrid, Paris",
        female: &["Ada", "Freja", "Signe", "Karla", "Søs", "Ellen", "Astrid", "Maja"],
        male: &["Anders", "Søren", "Jørgen", "Emil", "Oskar", "Villads", "Birk", "Malthe"],
        last: &["Nørgaard", "Sørensen", "Holm", "Østergaard", "Kjær", "Madsen", "Lund", "Thomsen"],
        streets: &["Havnegade", "Møllevej", "Skovbrynet", "Åboulevarden", "Kirkestræde", "Nørre Allé"],
        cities: &[
            &("Esbjerg", "Syddanmark"),
            &("Aarhus", "Midtjylland"),
            &("Køge", "Sjælland"),
            &("Hjørring", "Nordjylland"),
        ],
    },
    &Nation {
        code: "BR",
        country: "Brazil",
        numeric_postcode: false,
        identity: "CPF",
        offset: "-3:00",
        zone: "Brazil, Buenos Aires, Georgetown",
        female: &["Inês", "Beatriz", "Conceição", "Júlia", "Mariana", "Luíza", "Antônia", "Elisa"],
        male: &["Tomás", "João", "Antônio", "Caio", "Otávio", "Murilo", "Estêvão", "Davi"],
        last: &["Ferreira d'Ávila", "Gonçalves", "Araújo", "Nogueira", "Sant'Anna", "Magalhães", "Brandão", "Melo"],
        streets: &["Rua das Flores", "Avenida São João", "Travessa d'Ajuda", "Rua do Comércio", "Largo da Sé"],
        cities: &[
            &("Niterói", "Rio de Janeiro"),
            &("Santos", "São Paulo"),
            &("Belém", "Pará"),
            &("Goiânia", "Goiás"),
            &("Ouro Preto", "Minas Gerais"),
        ],
    },
    &Nation {
        code: "FR",
        country: "France",
        numeric_postcode: true,
        identity: "INSEE",
        offset: "+1:00",
        zone: "Brussels, Copenhagen, Madrid, Paris",
        female: &["Zoé", "Éloïse", "Chloé", "Margaux", "Anaïs", "Hélène", "Inès", "Noémie"],
        male: &["François", "Théo", "Loïc", "Jérôme", "Gaël", "Étienne", "Maël", "Rémi"],
        last: &["L'Hôpital", "d'Artois", "Lefèvre", "Dubois", "Garçon", "Béranger", "Moreau", "Châtelain"],
        streets: &["Rue de l'Église", "Quai des Célestins", "Avenue Foch", "Place d'Italie", "Rue du Bât-d'Argent"],
        cities: &[&("Nîmes", "Gard"), &("Orléans", "Loiret"), &("Saint-Étienne", "Loire"), &("Besançon", "Doubs")],
    },
    &Nation {
        code: "US",
        country: "United States",
        numeric_postcode: true,
        identity: "SSN",
        offset: "-5:00",
        zone: "Eastern Time (US & Canada), Bogota, Lima",
        female: &["Harriet", "Mabel", "Josephine", "Ruth", "Dolores", "Wanda", "Louise", "Opal"],
        male: &["Walter", "Clyde", "Amos", "Leroy", "Homer", "Virgil", "Otis", "Floyd"],
        last: &["O'Brien", "Hawkins", "Whitfield", "Delgado", "Pruitt", "Underwood", "McAllister", "Boone"],
        streets: &[
            "Harbour View Road",
            "Elm Street",
            "Mill Race Lane",
            "Cedar Avenue",
            "Old Post Road",
            "W Sherman Dr",
        ],
        cities: &[
            &("Albany", "New York"),
            &("Duluth", "Minnesota"),
            &("Macon", "Georgia"),
            &("Boise", "Idaho"),
            &("Coeur d'Alene", "Idaho"),
        ],
    },
    &Nation {
        code: "IE",
        country: "Ireland",
        numeric_postcode: false,
        identity: "PPS",
        offset: "0:00",
        zone: "Western Europe Time, London, Lisbon, Casablanca",
        female: &["Aoife", "Sinéad", "Gráinne", "Niamh", "Róisín", "Caoimhe", "Orla", "Siobhán"],
        male: &["Seán", "Cillian", "Pádraig", "Oisín", "Tadhg", "Ciarán", "Eoghan", "Fionn"],
        last: &["O'Sullivan", "Ó Dálaigh", "Byrne", "D'Arcy", "Ní Bhriain", "Kavanagh", "O'Neill", "Hartigan"],
        streets: &["Grafton Street", "St. Stephen's Green", "Bóthar na Trá", "Mill Lane", "Dyke Parade"],
        cities: &[
            &("Galway", "Connacht"),
            &("Dún Laoghaire", "Dublin"),
            &("Cork", "Munster"),
            &("Letterkenny", "Donegal"),
        ],
    },
    &Nation {
        code: "TR",
        country: "Türkiye",
        numeric_postcode: true,
        identity: "",
        offset: "+3:00",
        zone: "Baghdad, Riyadh, Moscow, St. Petersburg",
        female: &["Ayşe", "Gülşen", "Çiğdem", "Şirin", "Özlem", "Elif", "Zeynep", "İpek"],
        male: &["Çağrı", "Oğuz", "Şükrü", "Mehmet", "Ümit", "İlker", "Barış", "Yağız"],
        last: &["Yıldırım", "Öztürk", "Şahin", "Çelik", "Doğan", "Güneş", "Aydın", "Koç"],
        streets: &["Atatürk Caddesi", "İstiklal Caddesi", "Şehitler Sokak", "Bağdat Caddesi", "Çınar Sokak"],
        cities: &[&("İzmir", "Ege"), &("Şanlıurfa", "Güneydoğu"), &("Muğla", "Ege"), &("Çorum", "Karadeniz")],
    },
];

pub(crate) const ADJECTIVES: &[&str] = &[
    "blue", "happy", "quiet", "brave", "golden", "swift", "lazy", "silver", "tiny", "purple", "angry", "gentle",
    "bright", "hidden", "smart", "frozen",
];

pub(crate) const ANIMALS: &[&str] = &[
    "finch", "otter", "heron", "badger", "lynx", "trout", "magpie", "beaver", "gecko", "weasel", "panda", "raven",
    "salmon", "moose", "toad", "falcon",
];
